#ifndef MEWS_LAUNCHD_H
#define MEWS_LAUNCHD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "proto/boot.h"
#include "proto/chan.h"
#include "proto/keep.h"
#include "proto/launch.h"
#include "proto/machine.h"
#include "proto/spawn.h"
#include "proto/ward.h"

/* A VM's life as launchd sees it; lvm.c has the table. */
enum lvm_state {
	L_NEW,
	L_ACCEL, /* waits for the accelerator probe */
	L_PREPARE, /* the spawner makes its jail */
	L_KEEPER, /* its keeper is being asked */
	L_WARDEN, /* hypervisor and warden start; then read-back */
	L_RUNNING, /* guest runs, agent not heard yet */
	L_READY,
	L_STOPPING, /* on the stop ladder */
	L_KILLING, /* SIGKILL asked for; waits for the keeper's death */
	L_ENDED, /* hypervisor or keeper ended; waits for the warden's last
		    word and for what its group counted */
	L_GONE, /* ended and told; held until released */
	L_FREEING, /* being released */
	L_STATES
};

enum lvm_event {
	E_START,
	E_ADOPT, /* found alive after a restart of ours */
	E_ACCEL, /* the accelerator is known */
	E_PREPARED,
	E_KEPT, /* the keeper knows what to run */
	E_VERIFIED,
	E_READY,
	E_STOP,
	E_KILL,
	E_ENDED,
	E_REASON,
	E_DEAD, /* the keeper died or never was */
	E_RELEASE,
	E_EVENTS
};

/* A channel into the jail, which may have to be made again. */
enum link_phase {
	LINK_OFF,
	LINK_CONNECT,
	LINK_HELLO, /* connected, first answer awaited */
	LINK_QMP, /* warden: hypervisor's control socket awaited */
	LINK_VERIFY, /* warden: read-back under way */
	LINK_UP
};
struct link {
	struct chan *chan;
	enum link_phase phase;
	struct event *timer;
	long long until_ms; /* when patience ends */
};

#define LVM_WAITERS 4
#define LVM_DETAIL 128

/* When a start came how far, for the log. */
enum { T_START, T_PREPARED, T_KEEPER, T_VERIFY, T_VERIFIED, T_N };

struct launchd;
struct lvm {
	TAILQ_ENTRY(lvm) entry;
	struct launchd *ld;
	uint64_t uid;
	char name[17];
	enum lvm_state state;
	struct machine machine; /* what is to run, or runs */
	uint8_t accel;
	bool probe;
	bool adopted;
	bool settled; /* adoption of it is over */
	bool releasing;
	bool asked_spec;
	bool spec_sent; /* to this warden */
	bool freed;
	bool counted; /* L_ENDED: the spawner's answer is there */
	bool last_word; /* L_ENDED: nobody is waited for any more */
	uint16_t slot;
	uint32_t host_uid; /* from the spawner's record */
	uint32_t cid; /* likewise: its AF_VSOCK address, 0 for none */
	pid_t pid; /* keeper; 0: dead */
	pid_t vmm_pid;
	int pidfd;
	struct machine_fds fds; /* attached, for the keeper */
	int boot_spec;
	struct event *death; /* pidfd */
	struct event *timer; /* the state's deadline */
	struct event *freer;
	struct link keep;
	struct link ward;
	struct event *ward_calm; /* its warden is read again */
	long long ward_since_ms;
	unsigned int ward_news; /* since then */
	unsigned int ward_dials; /* likewise */
	LIST_HEAD(vdials, vdial) vdials;
	unsigned int nvdials;
	/* of answers that its warden may not have read, the oldest first */
	uint32_t vdial_cookies[WARD_DIALS_MAX];
	unsigned int nunread;
	struct keep_state2 keep_state;
	struct ward_state ward_state;
	struct launch_confined conf;
	long long started_ms;
	long long ready_by_ms;
	long long ward_lost_ms;
	long long ward_backoff_ms;
	long long at_us[T_N];
	uint32_t rung;
	uint32_t rung_ms[STOP_RUNGS];
	uint32_t reason;
	int32_t status;
	uint32_t oom_kills;
	char detail[LVM_DETAIL];
	uint64_t spawn_id; /* the answer awaited from the spawner; 0 none */
	uint32_t spawn_verb; /* what was asked */
	uint64_t waiters[LVM_WAITERS]; /* RELEASE requests */
	unsigned int nwaiters;
	unsigned int tries;
};

struct launchd {
	struct boot_common boot;
	struct launchd_conf conf;
	struct event_base *base;
	struct chan *parent; /* mewsd */
	uint32_t orchd_life; /* which orchd it is */
	struct chan *spawner;
	struct chan *orchd; /* NULL while it is away */
	int orchd_fd; /* came before adoption was over */
	bool listed; /* the spawner said all it holds */
	bool adopted; /* every VM it holds was asked */
	uint32_t accel; /* ACCEL_UNKNOWN until known */
	uint32_t tsc_khz; /* 0: unknown, guests calibrate themselves */
	struct launch_caps caps;
	uint64_t next_id;
	unsigned int nvms;
	TAILQ_HEAD(lvm_list, lvm) vms;
};

#define PROBE_VM UINT64_MAX
/* Ids of the spawner's answers that belong to no VM. */
enum { ID_LIST = 1, ID_ACCEL = 2, ID_FIRST_VM = 16 };

/* lvm.c: the life of one VM */
struct lvm *lvm_new(struct launchd *ld, uint64_t uid);
void lvm_free_soon(struct lvm *v);
struct lvm *lvm_find(const struct launchd *ld, uint64_t uid);
/* The only writer of state.  -EPROTO: not in this state. */
int lvm_step(struct lvm *v, enum lvm_event ev);
/* Ends it by SIGKILL to its namespace; the first reason given stays. */
void lvm_kill(struct lvm *v, uint32_t reason, const char *detail);
void lvm_set_detail(struct lvm *v, const char *text);
/* The keeper said that the hypervisor ended. */
void lvm_vmm_ended(struct lvm *v);
/* The spawner said what its group counted. */
void lvm_counted(struct lvm *v, const struct spawn_counted *c);
/* The spawner's descriptor of the keeper. */
int lvm_hold(struct lvm *v, const struct spawn_held *h, int pidfd);
void lvm_release(struct lvm *v);
void lvm_arm(struct lvm *v, long long ms);
enum launch_state lvm_public_state(const struct lvm *v);
void lvm_settled(struct lvm *v);

/* stop.c: the ladder */
int stop_begin(struct lvm *v, const struct launch_stop *s);
void stop_next(struct lvm *v);
void stop_say(struct lvm *v);

/* spawnlink.c, keeplink.c, wardlink.c: the three kinds of peers below */
int spawner_ask(struct lvm *v, uint32_t type, const void *data, size_t len);
extern const struct chan_ops spawner_ops;
int link_open(const struct lvm *v, const char *sock, pid_t pid, int *ret);
void link_close(struct link *l);
void link_arm(struct link *l, long long ms);
void keep_connect(struct lvm *v);
void keep_timer(int fd, short what, void *arg);
int keep_go(struct lvm *v);
void ward_connect(struct lvm *v);
void ward_timer(int fd, short what, void *arg);
void ward_calm(int fd, short what, void *arg);
void ward_verified(struct lvm *v, const struct spawn_verified *ok);
void ward_not_verified(struct lvm *v, int code, const char *why);
void ward_give_spec(struct lvm *v);

/* probe.c */
void probe_start(struct launchd *ld);
void probe_ended(struct lvm *v, uint32_t accel);
/* v's deadline has come by the clock.  True: v is a probe, whose own has not,
 * and the timer is set again. */
bool probe_waits(struct lvm *v);
void accel_known(struct launchd *ld, uint32_t accel);

/* orchd.c: dispatch of orchd's requests, and what is told to it */
void orchd_open(struct launchd *ld);
void orchd_event(struct lvm *v, uint32_t kind);
void orchd_caps(struct launchd *ld);
void orchd_released(struct lvm *v, int code, const char *why);

/* adopt.c */
void adopt_held(struct launchd *ld, const struct spawn_held *h, int *pidfd);
void adopt_check(struct launchd *ld);

/* What ps shows. */
void launchd_title(const struct launchd *ld);

void launchd_confine(const struct launchd *ld);
void launchd_filter(const struct launchd *ld);

#endif
