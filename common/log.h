#ifndef MEWS_LOG_H
#define MEWS_LOG_H

/*
 * Log lines go to descriptor 2, which mewsd opened: one write(2) a line,
 * "2026-01-31T12:00:00.123Z room level text".  Nothing here allocates,
 * opens or takes a lock, so it works under every seccomp filter.
 * Control characters are escaped: a log line is always one line.
 */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* room is kept by pointer and must outlive the process. */
void log_init(const char *room, enum log_level max);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Start-up faults and broken invariants only: logs, then exits with 1. */
_Noreturn void fatal(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

#endif
