#ifndef MEWS_WARDEN_CONSOLE_H
#define MEWS_WARDEN_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct console;
struct event_base;

/*
 * The serial console.  What the guest says goes into the FIFO that launchd
 * empties into a file of its own: its history is there, and no file is here.
 * The FIFO is not waited for; what it does not take is counted, and said in it
 * when it takes bytes again.
 *
 * Live watchers read a ring, which is there as long as one is.
 */
#define CONSOLE_RING ((size_t)256 << 10)
#define CONSOLE_LINE_MAX 112

struct console_ops {
	/* There is more to read, or room to write. */
	void (*more)(void *arg);
};

/* Keeps log_fd (a FIFO, O_NONBLOCK), which the caller closes after free. */
struct console *console_new(struct event_base *base, int log_fd,
    const struct console_ops *ops, void *arg);
void console_free(struct console *c); /* NULL is fine */
void console_retry(struct console *c);

/* One watcher more, or less.  0, -ENOMEM. */
int console_watch(struct console *c);
void console_unwatch(struct console *c);
/* Places in all that was said: what can be read is [first, end). */
uint64_t console_first(const struct console *c);
uint64_t console_end(const struct console *c);
/* Copies what stands at *off, which is in [first, end], and moves *off behind
 * it.  How many bytes, at most len. */
size_t console_read(struct console *c, uint64_t *off, void *buf, size_t len);
/* Types into the guest.  How many bytes it took; more() says when again. */
size_t console_write(struct console *c, const void *buf, size_t len);

/* Takes what the guest has said by now. */
void console_drain(struct console *c);
/* The last line that was not empty; "": there was none. */
const char *console_last(const struct console *c);
/* The line with which its kernel gave up, or NULL. */
const char *console_panic(const struct console *c);

#endif
