#include "mewsd/mewsd.h"
#include "tests/hostile/forbidden.h"

/* In mewsd's place: what its deny-list keeps from everything it starts. */
void __real_mewsd_confine(void);
void __wrap_mewsd_confine(void);

static void
confine(void *arg)
{
	(void)arg;
	__real_mewsd_confine();
}

void
__wrap_mewsd_confine(void)
{
	acts_run("mewsd", ACT_KERNEL, confine, NULL);
	__real_mewsd_confine();
}
