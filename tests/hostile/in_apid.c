#include "apid/apid.h"
#include "tests/hostile/forbidden.h"

/* In apid's place: every act behind apid's own confinement. */
void __real_apid_confine(const struct boot_common *bc);
void __wrap_apid_confine(const struct boot_common *bc);

static void
confine(void *arg)
{
	__real_apid_confine(arg);
	apid_filter();
}

void
__wrap_apid_confine(const struct boot_common *bc)
{
	struct boot_common copy = *bc;

	acts_run(room_name(bc->room), 0, confine, &copy);
	__real_apid_confine(bc);
}
