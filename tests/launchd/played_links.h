#ifndef MEWS_TESTS_PLAYED_LINKS_H
#define MEWS_TESTS_PLAYED_LINKS_H

#include <stdbool.h>
#include <stdint.h>

#include "launchd/launchd.h"
#include "launchd/vm.h"
#include "tests/suite/ev.h"

/* launchd without its peers: what each was asked, and the time. */
extern char asked[512]; /* a word each */
extern struct launchd ld;
struct links {
	int64_t now_ms;
	unsigned int forgot; /* answers of the spawner that are none any more */
	bool run_is_lost; /* a warden does not hear that it shall run it */
	bool probe_waits; /* its kernel still boots */
};
extern struct links links;

struct vm *begin(void);
void end(struct vm *v);
/* Words, what peers said or "turn"; a turn comes at the end. */
void play(struct vm *v, const char *script);

/* How far a start comes. */
#define KEEPER "start turn prepared turn "
#define WARDEN KEEPER "waits turn "
#define RUNNING WARDEN "qmp turn answer turn "

#endif
