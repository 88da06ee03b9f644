#ifndef MEWS_LOG_H
#define MEWS_LOG_H

#include <stdint.h>

/*
 * Log lines go to descriptor 2, which mewsd opened: one write(2) a line,
 * "2026-01-31T12:00:00.123Z room level text".  Nothing here allocates,
 * opens or takes a lock, so it works under every seccomp filter.
 * Control characters are escaped: a log line is always one line.
 *
 * A line that nobody takes at once (a room's descriptor 2 is a pipe that does
 * not wait) is lost, and how many were is said before the next one.  A line
 * that came ten times in a row is counted from then on, and told as such every
 * 10 s or when another comes.
 */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* room is kept by pointer and must outlive the process.  Undoes
 * log_never_wait(). */
void log_init(const char *room, enum log_level max);

/*
 * For who was given descriptor 2 by a stranger: no line waits for whoever
 * reads it, and no more than rate bytes a second (burst at once) are said.
 * The stranger's own descriptor stays as it was.
 */
void log_never_wait(uint32_t rate, uint32_t burst);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Start-up faults and broken invariants only: logs, then exits with 1. */
_Noreturn void fatal(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

#endif
