#ifndef MEWS_SPAWNER_JAIL_H
#define MEWS_SPAWNER_JAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "spawner/spawner.h"

/* What the child half needs; descriptors are the child's copies. */
struct jail {
	const struct spawner *sp;
	const struct jail_kind_row *kind;
	uid_t uid;
	const struct machine_limits *limits;
	bool kvm;
	const int *fds; /* as pid 1's row lists them; -1: /dev/null instead */
	int log_fd;
	uint32_t cid; /* its AF_VSOCK address; 0: none */
	int gate; /* one byte: go on; end of file: the spawner died */
};

/* Why the child gave up, told through the gate. */
struct jail_fault {
	int err;
	char what[60];
};

/* Runs in the new namespaces.  Ends in exec or _exit. */
_Noreturn void jail_child(const struct jail *j);

#endif
