#include "launchd/launchd.h"
#include "tests/hostile/forbidden.h"

/* In launchd's place. */
void __real_launchd_confine(const struct launchd *ld);
void __wrap_launchd_confine(const struct launchd *ld);

static const struct launchd *launchd;

static void
confine(void *arg)
{
	(void)arg;
	__real_launchd_confine(launchd);
	launchd_filter(launchd);
}

void
__wrap_launchd_confine(const struct launchd *ld)
{
	launchd = ld;
	acts_run("launchd", 0, confine, NULL);
	__real_launchd_confine(ld);
}
