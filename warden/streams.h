#ifndef MEWS_WARDEN_STREAMS_H
#define MEWS_WARDEN_STREAMS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proto/launch.h"

struct agent;
struct console;
struct event_base;
struct stream;
struct vsock;

#define STREAMS_MAX VM_STREAMS_MAX
#define SIGNALS_AT_ONCE_MAX VM_SIGNALS_MAX /* beside them */

TAILQ_HEAD(stream_list, stream);
struct streams {
	struct event_base *base;
	struct agent *agent;
	struct vsock *vsock;
	struct console *console;
	struct stream_list list;
};

void streams_init(struct streams *ss, struct event_base *base,
    struct agent *agent, struct vsock *vsock, struct console *console);
void streams_clear(struct streams *ss);
/* A client's end to serve; fd is ours in every case. kind: STREAM_*. */
void streams_add(struct streams *ss, uint32_t kind, uint32_t flags, int fd);
/* All end, whoever has their other ends. */
void streams_end(struct streams *ss);
/* The console has more to read, or takes more. */
void streams_console_more(struct streams *ss);
/* The agent's session ends: lets go of everything that is on it. */
void streams_agent_down(struct streams *ss);

#endif
