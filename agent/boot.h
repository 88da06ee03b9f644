#ifndef MEWS_AGENT_BOOT_H
#define MEWS_AGENT_BOOT_H

#include <stdint.h>

struct boot_spec;
struct err;

/* Clock, entropy, hostname, network as the spec says.  0 or -errno with e. */
int boot_apply(const struct boot_spec *spec, struct err *e);

/* Adds ns to the clock: little is slewed, at 0.5 ms a second, what would take
 * that too long is stepped.  0 or -errno with e. */
int boot_clock(int64_t ns, struct err *e);

#endif
