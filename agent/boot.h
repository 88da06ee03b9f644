#ifndef MEWS_AGENT_BOOT_H
#define MEWS_AGENT_BOOT_H

struct boot_spec;
struct err;

/* Clock, entropy, hostname, network as the spec says.  0 or -errno with e. */
int boot_apply(const struct boot_spec *spec, struct err *e);

#endif
