#include "launchd/launchd.h"
#include "spawner/spawner.h"
#include "tests/hostile/forbidden.h"

/* In launchd's place and, one exec further, in the spawner's. */
void __real_launchd_confine(const struct launchd *ld);
void __wrap_launchd_confine(const struct launchd *ld);
void __real_spawner_confine(const struct spawner *sp);
void __wrap_spawner_confine(const struct spawner *sp);

static const struct launchd *launchd;
static const struct spawner *spawner;

static void
confine_launchd(void *arg)
{
	(void)arg;
	__real_launchd_confine(launchd);
	launchd_filter(launchd);
}

static void
confine_spawner(void *arg)
{
	(void)arg;
	__real_spawner_confine(spawner);
}

void
__wrap_launchd_confine(const struct launchd *ld)
{
	launchd = ld;
	acts_run("launchd", 0, confine_launchd, NULL);
	__real_launchd_confine(ld);
}

void
__wrap_spawner_confine(const struct spawner *sp)
{
	spawner = sp;
	acts_run("spawner", ACT_SPAWNER, confine_spawner, NULL);
	__real_spawner_confine(sp);
}
