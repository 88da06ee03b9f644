#ifndef MEWS_STANDIN_H
#define MEWS_STANDIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A hypervisor for tests: QEMU's arguments, QMP, a serial line, and in
 * place of a guest an agent that answers in this process.  It runs no
 * guest and no command, so a VM is ready in milliseconds.  A word
 * standin=MODE on the guest's command line makes it lie.
 */
enum mode {
	MODE_HONEST,
	MODE_QMP_GARBAGE, /* no JSON */
	MODE_QMP_HUGE, /* a line without end */
	MODE_QMP_DEEP, /* nested without end */
	MODE_QMP_FLOOD, /* events without end */
	MODE_QMP_TWICE, /* greets again and again */
	MODE_AGENT_GARBAGE, /* no yamux */
	MODE_AGENT_HELLO, /* another's answer to the handshake */
	MODE_AGENT_WINDOW, /* more data than was allowed */
	MODE_AGENT_MUTE, /* takes bytes, never answers */
	MODE_HTTP_SPLIT, /* two answers where one was due */
	MODE_HTTP_ENDLESS, /* a head without end */
	MODE_HTTP_INTERIM, /* 100 Continue without end */
	MODE_HTTP_BODY, /* a body without end */
	MODE_HTTP_STATUS, /* exec answers 302 with fields */
	MODE_EXEC_CHANNEL, /* a frame on a channel that is none */
	MODE_EXEC_HUGE, /* a frame of 4 GiB */
	MODE_EXEC_OPENED, /* a frame only a warden may send */
	MODE_EXEC_CUT, /* the stream ends without a status */
	MODE_EXEC_AFTER, /* goes on after the status */
	MODE_SERIAL_FLOOD, /* a console without end */
	MODE_VSOCK, /* has AF_VSOCK; honest, and tells its log the key */
	MODE_WORD, /* honest; says a last word before it ends */
	MODE_COUNT
};
extern const char *const mode_names[MODE_COUNT];

/* What the agent wants of the machine. */
/* POWER_HALT: KVM gives its processor up, and the machine stands. */
enum power { POWER_ON, POWER_OFF, POWER_REBOOT, POWER_HALT };

struct fake_agent;
struct fake_agent *fake_new(enum mode mode);
/* A host connected anew: bytes of the one before are gone. */
int fake_input(struct fake_agent *f, const void *buf, size_t len);
size_t fake_output(const struct fake_agent *f, const uint8_t **p);
void fake_drained(struct fake_agent *f, size_t n);
enum power fake_power(const struct fake_agent *f);
/* True once for each "hold" command whose stream was reset. */
bool fake_hold_lost(struct fake_agent *f);

/*
 * bomb.c: makes so many of what its name says and keeps them; returns how
 * many, and what stopped it.
 */
unsigned int bomb_threads(unsigned int n, int *err);
unsigned int bomb_forks(unsigned int n, int *err);
unsigned int bomb_memory(unsigned int mib, int *err);
/* threads that compute */
unsigned int bomb_spin(unsigned int n, int *err);

#endif
