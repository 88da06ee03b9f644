#include "orchd/orchd.h"
#include "tests/hostile/forbidden.h"

/* In orchd's place: every act behind orchd's own confinement. */
void __real_orchd_confine(const struct boot_common *bc);
void __wrap_orchd_confine(const struct boot_common *bc);

static void
confine(void *arg)
{
	__real_orchd_confine(arg);
	orchd_filter();
}

void
__wrap_orchd_confine(const struct boot_common *bc)
{
	struct boot_common copy = *bc;

	acts_run("orchd", 0, confine, &copy);
	__real_orchd_confine(bc);
}
