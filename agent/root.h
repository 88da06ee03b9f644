#ifndef MEWS_AGENT_ROOT_H
#define MEWS_AGENT_ROOT_H

struct boot_spec;
struct limits;
struct err;

/*
 * In the first process of the workload's namespaces: makes its root on a
 * tmpfs, pivots to it, detaches the agent's.  0 or -errno with e.
 */
int root_build(
    const struct boot_spec *spec, const struct limits *l, struct err *e);

#endif
