#include <errno.h>
#include <string.h>

#include "common/frame.h"
#include "common/util.h"
#include "tests/suite/t.h"

#define IN(s) (s), sizeof(s) - 1

static struct frame_dec d;

static const struct {
	const char *name, *in;
	size_t len;
	uint32_t allowed;
	int frames; /* before the end or the fault */
	bool bad;
} rows[] = {
	{ "output", IN("\1\0\0\0\2hi\2\0\0\0\1e"), FRAME_FROM_GUEST, 2, false },
	{ "empty frame", IN("\0\0\0\0\0"), FRAME_FROM_USER, 1, false },
	{ "close stdin", IN("\xff\0\0\0\1\0"), FRAME_FROM_USER, 1, false },
	{ "close stdout", IN("\xff\0\0\0\1\1"), FRAME_FROM_GUEST, 1, false },
	{ "resize", IN("\4\0\0\0\2{}"), FRAME_FROM_USER, 1, false },
	{ "nothing", IN(""), FRAME_FROM_USER, 0, false },
	{ "half a head", IN("\0\0\0"), FRAME_FROM_USER, 0, false },
	{ "half a payload", IN("\0\0\0\0\2x"), FRAME_FROM_USER, 0, false },
	{ "longest", IN("\0\0\1\0\0"), FRAME_FROM_USER, 0, false },
	{ "one too long", IN("\0\0\1\0\1"), FRAME_FROM_USER, 0, true },
	{ "far too long", IN("\0\xff\xff\xff\xff"), FRAME_FROM_USER, 0, true },
	{ "FRAME_CHANNEL: 6", IN("\6\0\0\0\0"), UINT32_MAX, 0, true },
	{ "signal", IN("\5\0\0\0\1\17"), FRAME_FROM_USER_SIGNALS, 1, false },
	{ "FRAME_ALLOWED: signal", IN("\5\0\0\0\1\17"), FRAME_FROM_USER, 0,
	    true },
	{ "signal 0", IN("\5\0\0\0\1\0"), FRAME_FROM_USER_SIGNALS, 0, true },
	{ "signal 32", IN("\5\0\0\0\1\40"), FRAME_FROM_USER_SIGNALS, 0, true },
	{ "two signals", IN("\5\0\0\0\2\1\1"), FRAME_FROM_USER_SIGNALS, 0,
	    true },
	{ "close of signals", IN("\xff\0\0\0\1\5"), FRAME_FROM_USER_SIGNALS, 0,
	    true },
	{ "FRAME_CHANNEL: 254", IN("\xfe\0\0\0\0"), UINT32_MAX, 0, true },
	{ "FRAME_ALLOWED: the user speaks as the guest", IN("\1\0\0\0\0"),
	    FRAME_FROM_USER, 0, true },
	{ "FRAME_ALLOWED: the user says how it ended", IN("\3\0\0\0\0"),
	    FRAME_FROM_USER, 0, true },
	{ "FRAME_ALLOWED: the guest types", IN("\0\0\0\0\0"), FRAME_FROM_GUEST,
	    0, true },
	{ "FRAME_CLOSE_LEN: none", IN("\xff\0\0\0\0"), FRAME_FROM_USER, 0,
	    true },
	{ "FRAME_CLOSE_LEN: two", IN("\xff\0\0\0\2\0\0"), FRAME_FROM_USER, 0,
	    true },
	{ "FRAME_CLOSE_CHANNEL: another's", IN("\xff\0\0\0\1\1"),
	    FRAME_FROM_USER, 0, true },
	{ "FRAME_CLOSE_CHANNEL: none such", IN("\xff\0\0\0\1\x21"), UINT32_MAX,
	    0, true },
	{ "a good one, then a bad one", IN("\0\0\0\0\1x\7\0\0\0\0"),
	    FRAME_FROM_USER, 1, true },
};

static void
run_rows(size_t piece)
{
	struct frame f;
	size_t i, at, n, used;
	int r, frames;

	for (i = 0; i < nitems(rows); i++) {
		t_row(rows[i].name);
		frame_init(&d, rows[i].allowed);
		r = frames = 0;
		for (at = 0; at < rows[i].len && r >= 0; at += used) {
			n = rows[i].len - at < piece ? rows[i].len - at : piece;
			r = frame_feed(&d, rows[i].in + at, n, &used, &f);
			frames += r == 1;
		}
		t_eq(frames, rows[i].frames);
		t_eq(r == -EBADMSG, rows[i].bad);
		if (rows[i].bad) /* it stays so */
			t_eq(frame_feed(&d, "\0\0\0\0\0", 5, &used, &f),
			    -EBADMSG);
	}
}

static void
test_rows(void)
{
	run_rows(SIZE_MAX);
	run_rows(1);
	run_rows(3);
}

static void
test_longest(void)
{
	static uint8_t in[FRAME_HEAD_LEN + FRAME_PAYLOAD_MAX];
	struct frame f = { 0 };
	size_t used, i;

	for (i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	t_eq(frame_head(in, FRAME_STDOUT, FRAME_PAYLOAD_MAX), 0);
	frame_init(&d, FRAME_FROM_GUEST);
	t_eq(frame_feed(&d, in, sizeof(in) - 1, &used, &f), 0);
	t_eq(frame_at_boundary(&d), 0);
	t_eq(frame_feed(&d, in + sizeof(in) - 1, 1, &used, &f), 1);
	t_eq(used, 1);
	t_eq(f.channel, FRAME_STDOUT);
	t_mem(f.data, f.len, in + FRAME_HEAD_LEN, FRAME_PAYLOAD_MAX);
	t_eq(frame_at_boundary(&d), 1);
}

static void
test_head(void)
{
	uint8_t head[FRAME_HEAD_LEN] = "zzzz";

	t_eq(frame_head(head, FRAME_STDIN, FRAME_PAYLOAD_MAX + 1), -EMSGSIZE);
	t_eq(frame_head(head, (enum frame_channel)9, 1), -EINVAL);
	t_eq(frame_head(head, FRAME_CLOSE, 1), 0);
	t_mem(head, sizeof(head), "\xff\0\0\0\1", 5);
	t_eq(frame_head(head, FRAME_STATUS, 0xabcd), 0);
	t_mem(head, sizeof(head), "\3\0\0\xab\xcd", 5);
}

const struct t_case t_cases[] = { { "rows", test_rows },
	{ "longest", test_longest }, { "head", test_head }, { NULL, NULL } };
