#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/bucket.h"
#include "common/clock.h"
#include "common/log.h"

#define LOG_LINE_MAX 1024
#define REPEAT_PLAIN 10 /* one line in a row is written so often */
#define REPEAT_MS 10000 /* between two words of one line that repeats */

static const char *log_room = "mews";
static enum log_level log_max = LOG_INFO;

/* How descriptor 2 is written to. */
static enum { PLAIN, SOCKET, ASK_FIRST } log_how;
static struct bucket log_budget; /* rate 0: none */
static uint64_t log_lost; /* lines that were not written */
static uint64_t log_over; /* lines that were more than the budget */

/* The line before this one, and how often it came again. */
static struct {
	enum log_level level;
	unsigned int plain; /* times that it was written in a row */
	uint64_t again;
	int64_t at_ms; /* when it, or how often, was written */
	char text[LOG_LINE_MAX];
} log_last;

void
log_init(const char *room, enum log_level max)
{
	log_room = room;
	log_max = max;
	/* nothing of who forked this process */
	log_how = PLAIN;
	log_budget.rate = 0;
	log_lost = log_over = log_last.again = 0;
	log_last.text[0] = '\0';
	/* gmtime_r reads /etc/localtime once: before any filter, not after */
	tzset();
}

/* Copies src to dst with what could forge or break a line made visible. */
static size_t
log_escape(char *dst, size_t cap, const char *src)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (; *src != '\0' && n + 4 < cap; src++) {
		unsigned char c = (unsigned char)*src;

		if (c >= 0x20 && c != 0x7f) {
			dst[n++] = (char)c;
			continue;
		}
		dst[n++] = '\\';
		dst[n++] = 'x';
		dst[n++] = hex[c >> 4];
		dst[n++] = hex[c & 15];
	}
	return n;
}

struct date {
	int year, month, day;
};

/* Days since 1970 as a date.  gmtime_r(3) would open /etc/localtime, which
 * kills a process whose filter is on. */
static struct date
date_of(long days)
{
	static const int len[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };
	struct date d = { .year = 1970 };
	bool leap;

	for (;; d.year++) {
		leap =
		    (d.year % 4 == 0 && d.year % 100 != 0) || d.year % 400 == 0;
		if (days < 365 + leap)
			break;
		days -= 365 + leap;
	}
	while (days >= len[d.month] + (d.month == 1 && leap)) {
		days -= len[d.month] + (d.month == 1 && leap);
		d.month++;
	}
	d.month++;
	d.day = (int)days + 1;
	return d;
}

/* Never waits: false when nobody takes it now. */
static bool
line_out(const char *line, size_t n)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (log_how == SOCKET)
		return send(STDERR_FILENO, line, n,
			   MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n;
	if (log_how == ASK_FIRST && poll(&pfd, 1, 0) != 1)
		return false;
	return write(STDERR_FILENO, line, n) == (ssize_t)n;
}

/* One line as it is.  text may not be the caller's own words. */
static bool
line_write(enum log_level level, const char *text)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	char line[LOG_LINE_MAX + 64];
	struct timespec ts = { 0 };
	struct date d;
	int sec;
	size_t n;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	d = date_of(ts.tv_sec / 86400);
	sec = (int)(ts.tv_sec % 86400);
	n = (size_t)snprintf(line, sizeof(line),
	    "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s ", d.year, d.month,
	    d.day, sec / 3600, sec / 60 % 60, sec % 60,
	    (int)(ts.tv_nsec / 1000000), log_room, names[level]);
	if (n > 64)
		n = 64;
	n += log_escape(line + n, sizeof(line) - n - 1, text);
	line[n++] = '\n';
	return line_out(line, n);
}

/* What is not here is said before the next line that is. */
static void
say_missing(void)
{
	char text[128];

	if (log_lost > 0) {
		(void)snprintf(text, sizeof(text),
		    "%" PRIu64 " lines lost: nobody took them", log_lost);
		if (line_write(LOG_WARN, text))
			log_lost = 0;
	}
	if (log_over > 0) {
		(void)snprintf(text, sizeof(text),
		    "%" PRIu64 " lines left out: more than %" PRIu32
		    " bytes a second",
		    log_over, log_budget.rate);
		if (line_write(LOG_WARN, text))
			log_over = 0;
	}
}

static void
line_put(enum log_level level, const char *text, int64_t now_ms)
{
	/* what it costs with its head */
	if (log_budget.rate != 0 &&
	    !bucket_take(&log_budget, (uint32_t)strlen(text) + 64, now_ms)) {
		log_over++;
		return;
	}
	say_missing();
	if (!line_write(level, text))
		log_lost++;
}

static void
say_again(int64_t now_ms)
{
	char text[64];

	if (log_last.again == 0)
		return;
	(void)snprintf(text, sizeof(text),
	    "the last line came %" PRIu64 " times more", log_last.again);
	log_last.again = 0;
	log_last.at_ms = now_ms;
	line_put(log_last.level, text, now_ms);
}

static void log_v(enum log_level level, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void
log_v(enum log_level level, const char *fmt, va_list ap)
{
	const int64_t now_ms = clock_ms();
	char text[LOG_LINE_MAX];

	if (level > log_max)
		return;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	if (log_last.level == level && strcmp(log_last.text, text) == 0) {
		if (log_last.plain < REPEAT_PLAIN) {
			log_last.plain++;
			line_put(level, text, now_ms);
			return;
		}
		log_last.again++;
		if (now_ms - log_last.at_ms >= REPEAT_MS)
			say_again(now_ms);
		return;
	}
	say_again(now_ms);
	log_last.level = level;
	log_last.at_ms = now_ms;
	log_last.plain = 1;
	memcpy(log_last.text, text, strlen(text) + 1);
	line_put(level, text, now_ms);
}

#define LOG_FN(name, level)             \
	void name(const char *fmt, ...) \
	{                               \
		va_list ap;             \
                                        \
		va_start(ap, fmt);      \
		log_v(level, fmt, ap);  \
		va_end(ap);             \
	}

LOG_FN(log_error, LOG_ERROR)
LOG_FN(log_warn, LOG_WARN)
LOG_FN(log_info, LOG_INFO)
LOG_FN(log_debug, LOG_DEBUG)

void
fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_v(LOG_ERROR, fmt, ap);
	va_end(ap);
	exit(1);
}

void
log_never_wait(uint32_t rate, uint32_t burst)
{
	struct stat st;
	int fd, flags = fcntl(STDERR_FILENO, F_GETFL);

	bucket_init(&log_budget, rate, burst, clock_ms());
	if (flags < 0 || fstat(STDERR_FILENO, &st) < 0 || S_ISREG(st.st_mode))
		return;
	if (S_ISSOCK(st.st_mode)) {
		log_how = SOCKET;
		return;
	}
	/* O_NONBLOCK is of the open file, which others may have as well: so
	 * it is opened once more */
	fd = open("/proc/self/fd/2",
	    O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (flags & O_APPEND));
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		log_how = ASK_FIRST;
	if (fd >= 0)
		(void)close(fd);
}
