#include "keeper/keeper.h"
#include "tests/hostile/forbidden.h"

/* In the keeper's place, in the jail: what its filter keeps from both of its
 * children whatever they lack themselves. */
int __real_filter_install(void);
int __wrap_filter_install(void);

static void
confine(void *arg)
{
	(void)arg;
	(void)__real_filter_install();
}

int
__wrap_filter_install(void)
{
	acts_run("keeper", ACT_JAIL, confine, NULL);
	return __real_filter_install();
}
