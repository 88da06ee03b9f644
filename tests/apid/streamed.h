#ifndef MEWS_TESTS_STREAMED_H
#define MEWS_TESTS_STREAMED_H

#include "tests/apid/conn.h"

/*
 * An exec, a console, a log, between a client and a VM: both are ends of
 * socket pairs here; the WebSocket and the answers are played.
 */
extern int vm; /* the VM's end */
extern const struct ws_ops *ws; /* of the upgrade */

/* A connection that a stream may be of, and the end that apid gets. */
int begin_any(enum route_kind kind);
void begin_stream(enum route_kind kind);
void end_stream(void);

/* What was said since. */
#define SAYS(want)                   \
	do {                         \
		t_str(said, (want)); \
		said[0] = '\0';      \
	} while (0)

/* The bytes that came to the VM since. */
void vm_gets(const char *want, size_t len);
#define GETS(want) vm_gets((want), sizeof(want) - 1)
/* The VM sends them, and the loop turns. */
void vm_sends(const char *p, size_t len);
#define SENDS(bytes) vm_sends((bytes), sizeof(bytes) - 1)
#define OPENED_OK "\xfd\0\0\0\2\0\x65"

#endif
