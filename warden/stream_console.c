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
	frame_init(st->up, FRAME_BIT(FRAME_STDIN));
	if ((st->chunk = malloc(FRAME_HEAD_LEN + LOG_CHUNK)) == NULL ||
	    console_watch(c) < 0) {
		stream_opened(st, 503, "out of memory");
		return;
	}
	st->watches = true;
	st->off = console_end(c);
	stream_opened(st, 101, "");
}

static void
mark(struct stream *st, uint64_t to)
{
	char text[96];
	int n;

	n = snprintf(text, sizeof(text), "\r\n[mews: %llu bytes left out]\r\n",
	    (unsigned long long)(to - st->off));
	st->out_len = stream_note(st->note, FRAME_STDOUT, text, (size_t)n);
	st->out = st->note;
	st->off = to;
}

static enum pull
console_pull(struct stream *st)
{
	struct console *c = st->ss->console;
	size_t n;

	if (st->off < console_first(c)) {
		/* half of it, or it would be left behind again at once */
		mark(st, console_end(c) - CONSOLE_RING / 2);
		return PULL_SOME;
	}
	n = console_read(c, &st->off, st->chunk + FRAME_HEAD_LEN, LOG_CHUNK);
	if (n == 0)
		return PULL_WAIT;
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

static void
console_close(struct stream *st)
{
	if (st->watches)
		console_unwatch(st->ss->console);
	st->watches = false;
}

const struct stream_ops stream_console_ops = {
	.open = console_open,
	.pull = console_pull,
	.push = console_push,
	.close = console_close,
};
