#include "netd/confine.h"
#include "proto/boot.h"
#include "tests/hostile/forbidden.h"

/* In netd's place: every act behind netd's own confinement. */
void __real_netd_confine(const struct boot_common *bc);
void __wrap_netd_confine(const struct boot_common *bc);

static void
confine(void *arg)
{
	__real_netd_confine(arg);
	netd_filter();
}

void
__wrap_netd_confine(const struct boot_common *bc)
{
	struct boot_common copy = *bc;

	acts_run("netd", 0, confine, &copy);
	__real_netd_confine(bc);
}
