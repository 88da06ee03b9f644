#include <stdio.h>
#include <stdlib.h>

#include "proto/ward.h"
#include "warden/console.h"
#include "warden/stream.h"

static void
console_open(struct stream *st, const uint8_t *body, size_t len)
{
	struct console *c = st->ss->console;

	(void)body;
	if (len > 0) {
		stream_opened(st, 400, "a console has nothing to open with");
		return;
	}
	frame_init(
	    st->up, st->kind == STREAM_CONSOLE ? FRAME_BIT(FRAME_STDIN) : 0);
	if ((st->chunk = malloc(FRAME_HEAD_LEN + LOG_CHUNK)) == NULL) {
		stream_opened(st, 503, "out of memory");
		return;
	}
	st->stop = -1;
	if (st->kind == STREAM_CONSOLE)
		st->off = console_end(c);
	else {
		st->off = console_first(c);
		if ((st->flags & STREAM_FOLLOW) == 0)
			st->stop = console_end(c);
	}
	stream_opened(st, 101, "");
}

/* Where a watcher should go on, when what it would read next is gone or,
 * for a live console, too old; else where it is. */
static off_t
catch_up(const struct stream *st)
{
	const struct console *c = st->ss->console;
	off_t first = console_first(c), end = console_end(c);

	if (st->off > end)
		return first; /* the log began anew */
	if (st->kind == STREAM_CONSOLE && end - st->off > WATCHER_LAG_MAX)
		return end - WATCHER_LAG_MAX / 2;
	return st->off < first ? first : st->off;
}

static void
mark(struct stream *st, off_t to)
{
	char text[96];
	int n;

	if (to > st->off)
		n = snprintf(text, sizeof(text),
		    "\r\n[mews: %lld bytes left out]\r\n",
		    (long long)(to - st->off));
	else
		n = snprintf(text, sizeof(text),
		    "\r\n[mews: the console log began anew]\r\n");
	st->out_len = stream_note(st->note, FRAME_STDOUT, text, (size_t)n);
	st->out = st->note;
	st->off = to;
}

static enum pull
console_pull(struct stream *st)
{
	struct console *c = st->ss->console;
	off_t to = catch_up(st);
	size_t n = LOG_CHUNK;

	if (st->stop >= 0 && st->off >= st->stop)
		return PULL_END;
	if (to != st->off) {
		mark(st, to);
		return PULL_SOME;
	}
	if (st->stop >= 0 && (off_t)n > st->stop - st->off)
		n = (size_t)(st->stop - st->off);
	n = console_read(c, &st->off, st->chunk + FRAME_HEAD_LEN, n);
	if (n == 0)
		return st->stop >= 0 ? PULL_END : PULL_WAIT;
	if (frame_head(st->chunk, FRAME_STDOUT, n) < 0)
		return PULL_END;
	st->out = st->chunk;
	st->out_len = FRAME_HEAD_LEN + n;
	return PULL_SOME;
}

static size_t
console_push(struct stream *st, const uint8_t *p, size_t len)
{
	return console_write(st->ss->console, p, len);
}

const struct stream_ops stream_console_ops = {
	.open = console_open,
	.pull = console_pull,
	.push = console_push,
};
