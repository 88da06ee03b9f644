#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/api.h"
#include "agent/boot.h"
#include "agent/conn.h"
#include "agent/detach.h"
#include "agent/exec.h"
#include "agent/power.h"
#include "common/err.h"
#include "common/frame.h"
#include "common/yamux.h"
#include "proto/table.h"

/*
 * One connection to the agent: the CONNECT line, HTTP, an exec's frames.
 * What would start a process, mount or end the machine is replaced here;
 * the first byte says how it ends, the second cuts the rest into pieces.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MODE_BOOTED 1
#define MODE_FAIL 2 /* boot and exec are refused by the kernel */
#define MODE_FIN 4 /* the host closes its half at the end */
#define MODE_DEAF 8 /* the host reads no answers */
#define MODE_NO_FREE 16 /* the session ends over an open connection */

static uint8_t mode;

struct exec {
	struct conn *c;
	struct frame_dec dec;
	bool ended;
};

bool
exec_has_room(const struct agent *a)
{
	(void)a;
	return true;
}

int
exec_start(
    struct conn *c, struct exec_request *req, struct exec **ret, struct err *e)
{
	struct exec *ex;

	(void)req;
	if ((mode & MODE_FAIL) || (ex = calloc(1, sizeof(*ex))) == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	ex->c = c;
	frame_init(&ex->dec, FRAME_FROM_USER);
	*ret = ex;
	return 0;
}

static int
take_input(void *arg, const uint8_t *p, size_t len, size_t *used)
{
	struct exec *ex = arg;
	struct frame f;

	return frame_feed(&ex->dec, p, len, used, &f) < 0 ? -EPROTO : 0;
}

static void
take_eof(void *arg)
{
	struct exec *ex = arg;

	ex->ended = true;
}

static void
take_pump(void *arg)
{
	struct exec *ex = arg;

	/* as after the status: the exec goes, then its connection */
	if (ex->ended)
		conn_free(ex->c);
}

const struct conn_taker exec_taker = {
	.input = take_input, .eof = take_eof, .pump = take_pump, .gone = free
};

int
boot_apply(const struct boot_spec *spec, struct err *e)
{
	(void)spec;
	return (mode & MODE_FAIL) ? err_set(e, -EIO, "no") : 0;
}

int
boot_clock(int64_t ns, struct err *e)
{
	(void)ns;
	return (mode & MODE_FAIL) ? err_set(e, -EPERM, "no") : 0;
}

int
work_start(struct work *w, const struct boot_spec *spec, struct err *e)
{
	(void)w;
	(void)spec;
	(void)e;
	return 0;
}

/* Answered at once, later in two steps, or never. */
static void
late_gone(void *arg)
{
	(void)arg;
}

static int
late_input(void *arg, const uint8_t *p, size_t len, size_t *used)
{
	(void)arg;
	(void)p;
	*used = len;
	return 0;
}

static const struct conn_taker late_taker = { .input = late_input,
	.eof = late_gone,
	.pump = late_gone,
	.gone = late_gone };

int
detach_start(struct conn *c, struct exec_request *req, struct err *e)
{
	if (mode & MODE_FAIL)
		return err_set(e, -EBUSY, "no");
	conn_take(c, &late_taker, c);
	table_clear(&exec_request_table, req);
	return 0;
}

size_t
detach_signal_all(int sig)
{
	return (size_t)sig / 16;
}

size_t
exec_signal_all(int sig)
{
	return (size_t)sig % 2;
}

void
power_begin(struct agent *a, int reboot_cmd, uint32_t grace_ms)
{
	(void)grace_ms;
	a->reboot_cmd = reboot_cmd;
}

void
power_listen(struct agent *a)
{
	(void)a;
}

int
vsock_key(struct vsock *v, const uint8_t key[GATE_KEY])
{
	memcpy(v->key, key, sizeof(v->key));
	return (mode & MODE_FAIL) ? -ENODEV : 0;
}

static int
host_open(void *arg, struct ystream *s)
{
	(void)arg;
	(void)s;
	abort(); /* the agent opens none */
}

static void
host_event(void *arg, struct ystream *s, unsigned int ev)
{
	struct ystream **own = arg;
	const uint8_t *p;

	if (ev & YS_GONE) {
		ystream_free(s);
		*own = NULL;
	} else if (!(mode & MODE_DEAF))
		ystream_consume(s, ystream_peek(s, &p));
}

static const struct yamux_ops host_ops = { host_open, host_event };
static const struct yamux_ops agent_ops = { conn_open, conn_event };

static size_t
move(struct yamux *from, struct yamux *to)
{
	const uint8_t *p;
	size_t n, used, total = 0;

	while ((n = yamux_output(from, &p)) > 0) {
		uint8_t buf[4096];

		n = n < sizeof(buf) ? n : sizeof(buf);
		memcpy(buf, p, n);
		yamux_drained(from, n);
		total += n;
		if (yamux_input(to, buf, n, &used) < 0)
			abort(); /* both sides are ours */
	}
	return total;
}

static void
settle(struct yamux *a, struct yamux *b)
{
	while (move(a, b) + move(b, a) > 0)
		continue;
}

static void
talk(struct yamux *host, struct yamux *guest, const uint8_t *p, size_t len,
    size_t step)
{
	struct ystream *s = NULL;
	size_t n;

	if (ystream_open(host, &s) < 0)
		return;
	ystream_set_arg(s, &s);
	while (len > 0 && s != NULL) {
		n = ystream_write(s, p, len < step ? len : step);
		settle(host, guest);
		if (n == 0)
			break; /* it reads no further */
		p += n;
		len -= n;
	}
	if (s != NULL && (mode & MODE_FIN)) {
		ystream_fin(s);
		settle(host, guest);
	}
	if (s != NULL && !(mode & MODE_NO_FREE))
		ystream_free(s);
	settle(host, guest);
	/* the argument is of this frame */
	if (s != NULL && (mode & MODE_NO_FREE))
		ystream_free(s);
	settle(host, guest);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct agent a = { .request = api_request };
	struct yamux *host, *guest;

	if (len < 2)
		return 0;
	mode = data[0];
	a.is_booted = (mode & MODE_BOOTED) != 0;
	host = yamux_new(YAMUX_CLIENT, 0, &host_ops, NULL);
	guest = yamux_new(YAMUX_SERVER, CONNS_MAX, &agent_ops, &a);
	if (host != NULL && guest != NULL) {
		talk(host, guest, data + 2, len - 2, (size_t)data[1] * 16 + 1);
		if (yamux_streams(guest) != 0)
			abort(); /* a connection that nobody ends */
	}
	if (a.is_booted && !(mode & MODE_BOOTED))
		table_clear(&boot_spec_table, &a.spec);
	yamux_free(host);
	yamux_free(guest);
	return 0;
}
