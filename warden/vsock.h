#ifndef MEWS_WARDEN_VSOCK_H
#define MEWS_WARDEN_VSOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/duct.h"

struct chan;
struct event_base;
struct ward_dialled;

/*
 * AF_VSOCK to the agent.  No jail has that family: launchd connects and hands
 * the socket in.  Any process of the host could connect as well, so the agent
 * serves nobody who does not begin with its key, which we made and gave it
 * over virtio-serial; a new warden makes a new one.
 */
#define VSOCK_KEY 32
#define VSOCK_HEX_LEN 64

struct vwait;
struct vsock {
	struct event_base *base;
	struct chan *launchd; /* NULL: none that can dial */
	TAILQ_HEAD(vwaits, vwait) waits;
	unsigned int nwaits;
	uint64_t next_id;
	uint32_t seen; /* cookie of the last socket that came */
	bool has_key;
	bool said; /* that it fails; once */
	long long rest_until_ms; /* after a failure */
	uint8_t key[VSOCK_KEY];
};

void vsock_init(struct vsock *vs, struct event_base *base);
/* The agent took this key and listens; NULL: forget it. */
void vsock_key(struct vsock *vs, const uint8_t *key);
/* A launchd that dials is there; NULL: it went, and what it was asked. */
void vsock_launchd(struct vsock *vs, struct chan *launchd);
/* WARD_DIALLED; takes *fd. */
void vsock_dialled(
    struct vsock *vs, uint64_t id, const struct ward_dialled *a, int *fd);

/*
 * Asks for a connection to the agent's HTTP.  done is called once, unless
 * vsock_cancel comes first, with a duct whose key is on its way, or with none
 * when there is none to be had.  0, or a negative errno: not now, use the
 * session.  The duct's argument is a struct ysink (warden/call.h).
 */
int vsock_dial(struct vsock *vs, void (*done)(void *arg, struct duct *d),
    void *arg, struct vwait **ret);
void vsock_cancel(struct vwait *w); /* NULL is fine */
/* What it connected to did not serve: rests for a while, says so once. */
void vsock_failed(struct vsock *vs, const char *why);

#endif
