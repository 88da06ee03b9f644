#ifndef MEWS_WARDEN_AGENT_H
#define MEWS_WARDEN_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agent;
struct event_base;
struct yamux;

/* A boot spec that does not fit here is refused. */
#define AGENT_SPEC_MAX (1024UL * 1024)

struct agent_news {
	bool up; /* the channel stands */
	bool ready; /* the agent has its boot spec, and answers */
	uint8_t mute; /* enum ward_mute: it was ready, and is not */
	bool need_spec; /* it has none, and neither have we */
	const char *detail; /* printable, for a person; NULL: none */
};

struct agent_ops {
	/* The whole state, whenever a part of it changed. */
	void (*news)(void *arg, const struct agent_news *n);
	/* The session ends: let go of every stream and call on it, now. */
	void (*down)(void *arg);
	/* The agent serves AF_VSOCK to who has this key (VSOCK_KEY bytes);
	 * NULL: no more. */
	void (*key)(void *arg, const uint8_t *key);
};

/*
 * The channel to the guest's agent: one virtio-serial port, resynchronised
 * (common/sess.h), yamux on it.  Connects, resynchronises, asks for health,
 * hands over the boot spec, with the time of that moment.  Afterwards it is
 * asked for its health every WATCH_MS (watch.h), of which its clock is a part
 * (gclock.h); and whether it lives, when a request goes unanswered.
 */
struct agent *agent_new(
    struct event_base *base, const struct agent_ops *ops, void *arg);
void agent_free(struct agent *a); /* NULL is fine */
/* Connects again after giving up. */
void agent_retry(struct agent *a);
/* The session to open streams on; NULL while there is none. */
struct yamux *agent_mux(const struct agent *a);
/* Something was written to a stream: sends what can be sent. */
void agent_kick(struct agent *a);
/* The boot spec, a sealed memfd.  0, or what memfd_read says. */
int agent_spec(struct agent *a, int fd);
/* Asks the guest to power off, and to give its programs so long; 0: as long
 * as it thinks right.  An agent that is not there hears it when it is, and so
 * does each session after this one, with what is left.  0 or a negative errno.
 */
int agent_power(struct agent *a, uint32_t grace_ms);
/* Its clock stood: asks for it, now. */
void agent_look(struct agent *a);
/* Its execs take FRAME_SIGNAL. */
bool agent_takes_signals(const struct agent *a);
/* Something ended there, and its health may say why: asks soon. */
void agent_hint(struct agent *a);
/* It promised a word before an orderly end, and has not said it. */
bool agent_owes_word(const struct agent *a);
/* What it said and nobody read yet is read. */
void agent_drain(struct agent *a);
/* A request got no answer in time: is anybody there? */
void agent_doubt(struct agent *a);

#endif
