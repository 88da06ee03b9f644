#include "spawner/spawner.h"
#include "tests/hostile/forbidden.h"

/* In the spawner's place. */
void __real_spawner_confine(const struct spawner *sp);
void __wrap_spawner_confine(const struct spawner *sp);

static const struct spawner *spawner;

static void
confine(void *arg)
{
	(void)arg;
	__real_spawner_confine(spawner);
}

void
__wrap_spawner_confine(const struct spawner *sp)
{
	spawner = sp;
	acts_run("spawner", ACT_SPAWNER, confine, NULL);
	__real_spawner_confine(sp);
}
