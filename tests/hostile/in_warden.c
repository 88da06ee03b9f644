#include "tests/hostile/forbidden.h"
#include "warden/warden.h"

/* In the warden's place, in the jail: every act behind its own filter. */
void __real_warden_filter(void);
void __wrap_warden_filter(void);

static void
confine(void *arg)
{
	(void)arg;
	__real_warden_filter();
}

void
__wrap_warden_filter(void)
{
	acts_run("warden", 0, confine, NULL);
	__real_warden_filter();
}
