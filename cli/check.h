#ifndef MEWS_CLI_CHECK_H
#define MEWS_CLI_CHECK_H

#include <stdbool.h>
#include <stddef.h>

struct cli;
struct err;

/*
 * What `mews doctor` knows: what the API says of the host, and what is seen
 * by comparing its VMs with what they should be.
 */
#define CHECKS_MAX 256

struct check {
	char name[64];
	char detail[256];
	bool ok;
	bool stops; /* not ok: VMs do not start */
	bool soon; /* comes by itself shortly after the suite's start */
};

struct checks {
	size_t n;
	struct check v[CHECKS_MAX];
};

/* The API's: 0 or a negative errno with e. */
int check_host(struct cli *c, struct checks *ret, struct err *e);
/* Adds ours, of the VMs that there are. */
int check_vms(struct cli *c, struct checks *ck, struct err *e);

/* The ones that are not ok and stop VMs; only those that come by themselves. */
size_t check_stops(const struct checks *ck, bool soon);

#endif
