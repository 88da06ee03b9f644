#ifndef MEWS_WARDEN_H
#define MEWS_WARDEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/ward.h"
#include "warden/streams.h"
#include "warden/vsock.h"

struct agent;
struct chan;
struct console;
struct event;
struct event_base;
struct vmm;
struct vmm_backend;

/*
 * The serving warden: the one process that hears what a guest and its
 * hypervisor say, at their uid, in their jail.
 */
struct warden {
	struct event_base *base;
	const struct vmm_backend *backend;
	uid_t launchd_uid; /* the only peer */
	int listener;
	struct event *accept;
	struct event *term;
	struct chan *launchd; /* NULL: nobody listens to us now */
	bool greeted; /* launchd said hello: it gets news */
	struct event *beat; /* and its state now and then, without any */
	struct vmm *vmm;
	struct agent *agent;
	struct console *console;
	struct streams streams;
	struct vsock vsock;
	struct ward_state state;
	struct ward_state told; /* what launchd heard last */
};

/* Inherited, see proto/ward.h. */
#define WARDEN_LISTENER 3
#define WARDEN_LOG 4
#define WARDEN_NFDS 5

/* main.c */
void warden_news(struct warden *w);

/* dispatch.c: launchd's channel */
void warden_listen(struct warden *w);
void warden_tell(struct warden *w, uint64_t id);

/* confine.c */
void warden_filter(void);

#endif
