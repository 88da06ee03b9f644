#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

#define LOG_LINE_MAX 1024

static const char *log_room = "mews";
static enum log_level log_max = LOG_INFO;

void
log_init(const char *room, enum log_level max)
{
	log_room = room;
	log_max = max;
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

static void log_v(enum log_level level, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void
log_v(enum log_level level, const char *fmt, va_list ap)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	char text[LOG_LINE_MAX], line[LOG_LINE_MAX + 64];
	struct timespec ts = { 0 };
	struct date d;
	int sec;
	size_t n;

	if (level > log_max)
		return;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
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
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nobody left to tell */
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
