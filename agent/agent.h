#ifndef MEWS_AGENT_AGENT_H
#define MEWS_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/button.h"
#include "agent/loop.h"
#include "agent/oom.h"
#include "agent/port.h"
#include "agent/vsock.h"
#include "agent/word.h"
#include "agent/work.h"
#include "proto/objects.h"

#define AGENT_VERSION "0.1"
#define AGENT_PORT 1024 /* HTTP is served here */
#define CONNS_MAX 128 /* streams the host may have open */
#define EXECS_MAX 128 /* attached: half of them may be on their way out */
#define EXECS_DYING 64 /* more: killed, not reaped */
#define EXEC_BODY_MAX (1U << 20)

struct conn;
struct agent {
	/* answers a whole request, or upgrades: conn.c is below the routes */
	void (*request)(struct conn *c);
	struct port port;
	struct vsock vsock;
	struct work work;
	struct boot_spec spec; /* valid once is_booted */
	bool is_booted;
	size_t nexecs; /* processes that were started and not reaped */
	size_t ndetached; /* of those */
	struct watch signals, grace, unheard;
	struct buttons buttons;
	struct oom oom;
	int reboot_cmd; /* of reboot(2); 0: nobody asked yet */
	struct word word; /* before it is done */
};

#endif
