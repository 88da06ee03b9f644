#ifndef MEWS_BOOT_H
#define MEWS_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/kill.h"
#include "proto/room.h"

/*
 * mewsd -> room, over descriptor 3.  The first message is the room's config;
 * then come descriptors, one a message: channels to other rooms and, for
 * orchd, the listener.  A channel may come again: its other end was started
 * anew.  End of file on descriptor 3 means: exit.
 *
 * Descriptors a room is born with: 0 and 1 /dev/null, 2 its log,
 * 3 this channel, 4 the suite's lock (held, never used).
 */
#define BOOT_FD 3
#define BOOT_LOCK_FD 4
#define BOOT_NFDS 5
#define BOOT_VERSION 1
#define BOOT_PATH_MAX 160

enum boot_msg {
	BOOT_CONF = 0x0101, /* struct boot_common, then the room's own struct */
	BOOT_PEER = 0x0102, /* struct boot_peer + channel */
	BOOT_LISTENER = 0x0103, /* to orchd: the Unix API listener */
	BOOT_STOP = 0x0104, /* finish what is answered, then exit 0 */
	BOOT_READY = 0x0105, /* room -> mewsd: confined and serving */
	BOOT_FAULT =
	    0x0106, /* room -> mewsd: struct boot_peer, to be replaced */
	BOOT_ENDED =
	    0x0107, /* orchd -> mewsd: struct boot_peer, its channel ended */
	/* orchd -> mewsd: start one, which begins when its descriptors came, in
	 * the order of their index; answered by BOOT_ONESHOT_END, once */
	BOOT_ONESHOT = 0x0108, /* struct boot_oneshot */
	BOOT_ONESHOT_FD = 0x0109, /* struct boot_oneshot_fd + descriptor */
	BOOT_ONESHOT_END = 0x010a, /* mewsd -> orchd: struct boot_oneshot_end */
	/* mewsd -> room that said BOOT_READY: answered at once by BOOT_PONG
	 * with its id; a room that does not is replaced (mewsd/watch.c) */
	BOOT_PING = 0x010b,
	BOOT_PONG = 0x010c,
	/* orchd -> mewsd: struct boot_audit, for the system journal */
	BOOT_AUDIT = 0x010d,
};

struct boot_common {
	uint32_t version; /* BOOT_VERSION */
	uint32_t room; /* enum room */
	uint32_t uid; /* what the room becomes */
	uint32_t gid;
	uint32_t log_level; /* enum log_level */
	uint32_t nofile; /* RLIMIT_NOFILE to lower to */
	struct kill_at kill; /* test builds only; else zero */
	char root[BOOT_PATH_MAX]; /* directory that becomes its root */
};
_Static_assert(sizeof(struct boot_common) == 40 + BOOT_PATH_MAX, "wire");

struct boot_peer {
	uint32_t room; /* who is at the other end */
	uint32_t life; /* which one of it: mewsd counts its starts */
};

/*
 * One-shot rooms.  What one is handed is its descriptors BOOT_NFDS and up; how
 * many, how many rooms at once and for how long is in its row in mewsd.
 */
#define ONESHOT_FDS_MAX 8
struct boot_oneshot {
	uint64_t id; /* orchd's choice, not that of another one under way */
	uint32_t room; /* enum room */
	uint32_t pad;
};

struct boot_oneshot_fd {
	uint64_t id; /* of one that has ended: the descriptor is dropped */
	uint32_t index; /* 0, 1, ... */
	uint32_t pad;
};

/* Where a chain of the audit trail is, so that what its owner keeps of it can
 * be held against what he does not keep. */
struct boot_audit {
	int64_t tenant; /* its number; 0: the host's own */
	uint64_t row; /* its last */
	uint8_t hash[32]; /* of that */
};
_Static_assert(sizeof(struct boot_audit) == 48, "wire layout");

enum oneshot_how {
	ONESHOT_EXITED, /* status: what it exited with */
	ONESHOT_KILLED, /* status: the signal */
	ONESHOT_LATE, /* its deadline came */
	ONESHOT_BUSY, /* not started: there are as many as there may be */
	ONESHOT_FAILED, /* not started: status is a negative errno */
};
struct boot_oneshot_end {
	uint64_t id;
	uint32_t how; /* enum oneshot_how */
	int32_t status;
};
_Static_assert(sizeof(struct boot_oneshot) == 16 &&
	sizeof(struct boot_oneshot_fd) == 16 &&
	sizeof(struct boot_oneshot_end) == 16,
    "wire layout");

/*
 * The one blocking read of a room: its config from descriptor 3, checked for
 * version, room and exact size, or fatal().  Arms the kill point.
 * ROOM_API also takes the config of ROOM_API_ADMIN: one binary is both.
 * A room without a config of its own has len 0 and conf NULL.
 */
void boot_recv(uint32_t room, struct boot_common *bc, void *conf, size_t len);
/* Tells mewsd that the room serves.  Fatal if mewsd is gone. */
void boot_ready(void);
/* For the handler table of descriptor 3. */
int boot_peer_check(const void *payload);
int boot_oneshot_check(const void *payload);
int boot_oneshot_fd_check(const void *payload);
int boot_audit_check(const void *payload);

#endif
