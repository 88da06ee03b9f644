#ifndef MEWS_WARDEN_CONSOLE_H
#define MEWS_WARDEN_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct console;
struct event_base;

/*
 * The serial console.  What the guest says is appended to the log file, and
 * nowhere else: watchers read the file at offsets of their own, so the page
 * cache is the history and a warden with a hundred watchers needs no ring.
 *
 * The file is bounded by giving its beginning back to the file system
 * (fallocate(2) FALLOC_FL_PUNCH_HOLE): offsets stay true, blocks do not
 * pile up.  Who reads the file later finds its beginning with SEEK_DATA.
 * Where there is no such call, or the end reaches the jail's RLIMIT_FSIZE,
 * it starts anew from nothing.
 */
#define CONSOLE_LOG_MAX (4L * 1024 * 1024) /* blocks held, at most */
#define CONSOLE_LOG_KEEP (2L * 1024 * 1024) /* and after giving back */

struct console_ops {
	/* There is more to read, or room to write. */
	void (*more)(void *arg);
};

/* Keeps log_fd (O_RDWR|O_APPEND), which the caller closes after free. */
struct console *console_new(struct event_base *base, int log_fd,
    const struct console_ops *ops, void *arg);
void console_free(struct console *c); /* NULL is fine */
void console_retry(struct console *c);

/* Offsets in the log: what can be read is [first, end). */
off_t console_first(const struct console *c);
off_t console_end(const struct console *c);
/*
 * Copies what stands at off; at most len bytes.  How many, 0 at the end.
 * Moves *off to the first byte there is if that one is gone.
 */
size_t console_read(struct console *c, off_t *off, void *buf, size_t len);
/* Types into the guest.  How many bytes it took; more() says when again. */
size_t console_write(struct console *c, const void *buf, size_t len);

#endif
