#ifndef MEWS_LAUNCHD_LINK_H
#define MEWS_LAUNCHD_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct chan;
struct event;
struct event_base;

enum link_phase {
	LINK_OFF,
	LINK_CONNECT,
	LINK_HELLO, /* connected, first answer awaited */
	LINK_QMP, /* warden: hypervisor's control socket awaited */
	LINK_VERIFY, /* warden: read-back under way */
	LINK_UP
};

/*
 * A channel into the jail, which may have to be made again.  Phase, patience
 * and channel are its owner's, keeplink.c or wardlink.c; a timer that came is
 * written down as due, and wake() called.
 */
struct link {
	struct chan *chan;
	enum link_phase phase;
	bool due;
	struct event *timer;
	struct event *calm; /* its channel is read again */
	long long heard_ms; /* budget.h: since then it said so much */
	unsigned int heard;
	long long until_ms; /* when patience ends */
	long long lost_ms; /* when link_backoff() was asked last */
	long long backoff_ms;
	bool said; /* that nobody answers, in the log */
	void (*wake)(void *arg);
	void *arg;
};

/* 0 or -ENOMEM; link_clear copes with both. */
int link_init(struct link *l, struct event_base *base, void (*wake)(void *arg),
    void *arg);
/* Closes it for good.  One that was zero and never initialised is fine. */
void link_clear(struct link *l);
/* Ends the channel, if there is one, and the timer. */
void link_close(struct link *l);
/* ms from now it is due; -1: it is not. */
void link_arm(struct link *l, long long ms);
/* Its channel is not read for that long. */
void link_hold(struct link *l, long long ms);
/* What it waits for has to come in this time; then it is called lost. */
void link_patience(struct link *l, long long ms);
bool link_is_lost(const struct link *l);
/* ms until it is tried again: first_ms, and twice as long each time up to
 * LINK_BACKOFF_MAX_MS.  Who was not asked for LINK_HEALTHY_MS begins anew. */
#define LINK_BACKOFF_MAX_MS 1000
#define LINK_HEALTHY_MS 10000
long long link_backoff(struct link *l, long long first_ms);

/*
 * Connects to NAME/SOCK in run/vm, which is bound by root.  The kernel says
 * who called listen(2): that uid, and for the keeper (pid > 0) the very process
 * of the record, or -EPERM.  -ECONNREFUSED: nobody listens yet.
 */
int link_open(
    const char *name, const char *sock, uint32_t uid, pid_t pid, int *ret);

#endif
