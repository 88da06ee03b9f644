#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/sess.h"
#include "proto/jread.h"
#include "proto/ward.h"
#include "warden/agent.h"
#include "warden/call.h"
#include "warden/dial.h"
#include "warden/gclock.h"
#include "warden/health.h"
#include "warden/text.h"
#include "warden/vsock.h"
#include "warden/watch.h"
#include "warden/word.h"

#define READ_CHUNK 16384
#define DRAIN_READS 16
/* A guest may have no agent: each wait for a hello is longer. */
#define HELLO_FIRST_MS 15000
#define HELLO_LAST_MS 300000
#define HEALTH_MS 5000
#define HEALTH_AGAIN_MS 50
#define BOOT_MS 120000
#define POWER_MS 10000
#define PONG_MS 5000
#define KEY_MS 5000
#define HINT_MS 1000
#define KEY_HEAD "{\"key\":\""
#define KEY_TAIL "\"}"

enum agent_step {
	AS_DOWN, /* no connection */
	AS_HELLO, /* resynchronising */
	AS_HEALTH, /* asks, or waits to ask again */
	AS_KEY, /* the key for AF_VSOCK is on its way */
	AS_NEED_SPEC, /* up, but nothing to boot it with */
	AS_BOOT, /* the boot spec is on its way */
	AS_READY,
};

struct agent {
	struct event_base *base;
	const struct agent_ops *ops;
	void *arg;
	struct dial dial;
	int fd;
	struct event *rd, *wr;
	struct event *timer; /* of the step */
	struct event *gone; /* tears down from the loop, not inside it */
	struct event *pong; /* a ping's deadline */
	uint64_t pongs;
	const char *why; /* of gone */
	struct sess *sess;
	unsigned int busy; /* inside the session's input or output */
	enum agent_step step;
	struct call *call; /* health, key or boot */
	struct call *power;
	char power_body[48]; /* of that call */
	bool wants_off; /* it is to power off: each session is told, once */
	bool said_off; /* this one was */
	int64_t off_by_ms; /* when its programs are to have ended, of
			      clock_ms(); 0: as it thinks right */
	struct watch watch; /* in AS_READY */
	enum ward_mute mute; /* as it found */
	unsigned int hellos; /* in a row without an answer */
	unsigned int asked; /* health, in a row */
	bool booted; /* as health said */
	bool has_signals; /* likewise: execs take FRAME_SIGNAL */
	bool has_time; /* likewise: its time, and its clock can be set */
	long long ooms; /* likewise: processes it ended for memory */
	struct gclock clock;
	struct word word;
	uint8_t key[VSOCK_KEY]; /* on its way to the agent */
	char key_body[sizeof(KEY_HEAD) + VSOCK_HEX_LEN + sizeof(KEY_TAIL)];
	void *spec;
	size_t spec_len;
	char detail[112];
};

static void step_health(struct agent *a);

static void
set_timer(struct agent *a, long ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (ms % 1000) * 1000 };

	(void)evtimer_add(a->timer, &tv);
}

static void
tell(struct agent *a)
{
	const struct agent_news n = {
		.up = a->step >= AS_HEALTH,
		.ready = a->step == AS_READY && a->mute == WARD_HEARD,
		.mute = (uint8_t)a->mute,
		.need_spec = a->step == AS_NEED_SPEC,
		.detail = a->detail[0] != '\0' ? a->detail : NULL,
	};

	a->ops->news(a->arg, &n);
}

static void
set_step(struct agent *a, enum agent_step step)
{
	a->step = step;
	a->mute = WARD_HEARD;
	(void)evtimer_del(a->timer);
	if (step == AS_READY) {
		watch_start(&a->watch, sess_yamux(a->sess));
		if (a->has_time)
			gclock_start(&a->clock);
	}
	tell(a);
}

static void
on_watch(void *arg, enum ward_mute mute)
{
	struct agent *a = arg;

	if (mute == a->mute)
		return;
	log_info("agent: %s",
	    mute == WARD_HEARD		   ? "answers again"
		: mute == WARD_MUTE_SILENT ? "does not answer"
					   : "says that it is not ready");
	a->mute = mute;
	tell(a);
}

static void
forget_spec(struct agent *a)
{
	if (a->spec != NULL)
		explicit_bzero(a->spec, a->spec_len);
	free(a->spec);
	a->spec = NULL;
	a->spec_len = 0;
}

static void
forget_key(struct agent *a)
{
	explicit_bzero(a->key, sizeof(a->key));
	explicit_bzero(a->key_body, sizeof(a->key_body));
}

static void
free_event(struct event **ev)
{
	if (*ev != NULL)
		event_free(*ev);
	*ev = NULL;
}

static void
hang_up(struct agent *a)
{
	a->ops->down(a->arg);
	a->ops->key(a->arg, NULL);
	watch_stop(&a->watch);
	gclock_stop(&a->clock);
	word_stop(&a->word);
	call_free(a->call);
	call_free(a->power);
	a->call = a->power = NULL;
	a->said_off = false;
	forget_key(a);
	sess_free(a->sess);
	a->sess = NULL;
	free_event(&a->rd);
	free_event(&a->wr);
	fd_close(&a->fd);
	(void)evtimer_del(a->pong);
}

static void
on_gone(int fd, short what, void *arg)
{
	struct agent *a = arg;

	(void)fd;
	(void)what;
	if (a->fd == -1)
		return;
	if (a->why != NULL)
		log_info("agent: %s", a->why);
	a->why = NULL;
	hang_up(a);
	set_step(a, AS_DOWN);
	dial_again(&a->dial);
}

/* The session is of no use; callers may still hold its streams. */
static void
agent_fail(struct agent *a, const char *why)
{
	if (a->why == NULL)
		a->why = why;
	event_active(a->gone, EV_TIMEOUT, 0);
}

/* Sends what waits.  Streams are told inside that there is room again. */
static void
flush(struct agent *a)
{
	const uint8_t *p;
	size_t len;

	while (a->sess != NULL && (len = sess_output(a->sess, &p)) > 0) {
		ssize_t n = send(a->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			(void)event_add(a->wr, NULL);
			return;
		}
		if (n < 0) {
			agent_fail(a, "closed");
			return;
		}
		sess_drained(a->sess, (size_t)n);
	}
}

void
agent_kick(struct agent *a)
{
	/* inside a callback: whoever called it flushes afterwards */
	if (a->busy > 0 || a->sess == NULL)
		return;
	a->busy++;
	flush(a);
	a->busy--;
}

/* One read.  False: there was nothing, now or any more. */
static bool
take(struct agent *a)
{
	uint8_t buf[READ_CHUNK];
	ssize_t n = recv(a->fd, buf, sizeof(buf), MSG_DONTWAIT);
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		agent_fail(a, "closed");
		return false;
	}
	a->busy++;
	if ((r = sess_input(a->sess, buf, (size_t)n)) < 0)
		agent_fail(a, strerror(-r));
	flush(a);
	a->busy--;
	return r >= 0;
}

static void
on_readable(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)take(arg);
}

void
agent_drain(struct agent *a)
{
	int i;

	for (i = 0; a->fd != -1 && a->why == NULL && i < DRAIN_READS; i++) {
		if (!take(a))
			break;
	}
}

bool
agent_owes_word(const struct agent *a)
{
	return word_is_owed(&a->word);
}

static void
on_writable(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	agent_kick(arg);
}

static void
mux_event(void *arg, struct ystream *s, unsigned int ev)
{
	struct ysink *k = arg;

	(void)s;
	k->event(k->arg, ev);
}

static void
on_booted(void *arg, const struct call_answer *ans)
{
	struct agent *a = arg;
	struct call *c = a->call;
	char text[64];

	a->call = NULL;
	/* 409: a warden before us did it, and died before it could say so */
	if ((ans->status >= 200 && ans->status < 300) || ans->status == 409) {
		forget_spec(a);
		a->detail[0] = '\0';
		set_step(a, AS_READY);
	} else if (ans->status == 0) {
		agent_fail(a, ans->why);
	} else {
		text_print(
		    text, sizeof(text), (const char *)ans->body, ans->len);
		(void)snprintf(a->detail, sizeof(a->detail),
		    "the agent refused its boot spec: %d %s", ans->status,
		    text);
		forget_spec(a); /* the same again would end the same */
		set_step(a, AS_NEED_SPEC);
	}
	call_free(c);
}

/*
 * The spec says what time it was when it was written, which was before the
 * guest booted: it is now.  In its place, for all are of one length until the
 * year 2286.
 */
static void
stamp(struct agent *a)
{
	struct jread j, at;
	char text[32], *p;
	int n =
	    snprintf(text, sizeof(text), "%lld", (long long)clock_wall_ns());

	if (jread_open(&j, a->spec, a->spec_len) < 0 ||
	    jread_find(&j, "time_ns", &at) < 0 ||
	    jread_peek(&at) != JREAD_NUMBER)
		return; /* the agent will say what is wrong with it */
	p = (char *)a->spec + (at.p - (const char *)a->spec);
	if (strspn(p, "0123456789") == (size_t)n)
		memcpy(p, text, (size_t)n);
}

static void
step_boot(struct agent *a)
{
	int r;

	if (a->spec == NULL) {
		set_step(a, AS_NEED_SPEC);
		return;
	}
	stamp(a);
	r = call_mux(sess_yamux(a->sess), HTTP_PUT, "/v1/boot", a->spec,
	    a->spec_len, on_booted, a, &a->call);
	if (r < 0) {
		agent_fail(a, "boot spec: no stream");
		return;
	}
	set_step(a, AS_BOOT);
	set_timer(a, BOOT_MS);
}

/* What its kernel ended for want of memory is told once: here, and with the
 * reason when the VM ends. */
static void
look_ooms(struct agent *a, const struct call_answer *ans)
{
	struct jread j, at;
	struct jstr last;
	char text[64] = "";
	long long n;

	if (!health_number(ans, "oom_kills", &n) || n <= a->ooms)
		return;
	a->ooms = n;
	if (jread_open(&j, (const char *)ans->body, ans->len) == 0 &&
	    jread_find(&j, "oom_last", &at) == 0 &&
	    jread_peek(&at) == JREAD_STRING && jread_string(&at, &last) == 0)
		text_print_json(text, sizeof(text), &last);
	log_warn("guest: out of memory: ended %s; %lld so far", text, n);
	(void)snprintf(a->detail, sizeof(a->detail),
	    "the guest ran out of memory and ended %s; %lld so far", text, n);
	tell(a);
}

static void
on_watch_health(
    void *arg, const struct call_answer *ans, int64_t asked_ns, int64_t rtt_us)
{
	struct agent *a = arg;

	look_ooms(a, ans);
	if (a->has_time)
		gclock_heard(&a->clock, ans, asked_ns, rtt_us);
}

static void
on_kick(void *arg)
{
	agent_kick(arg);
}

static const struct watch_ops watch_ops = {
	.said = on_watch, .health = on_watch_health, .kick = on_kick
};

static struct yamux *
clock_mux(void *arg)
{
	return agent_mux(arg);
}

static void
clock_soon(void *arg, long ms)
{
	struct agent *a = arg;

	watch_soon(&a->watch, ms);
}

static const struct gclock_ops clock_ops = {
	.mux = clock_mux, .kick = on_kick, .soon = clock_soon
};

void
agent_look(struct agent *a)
{
	if (a->step == AS_READY && a->has_time)
		gclock_start(&a->clock);
}

bool
agent_takes_signals(const struct agent *a)
{
	return a->has_signals;
}

void
agent_hint(struct agent *a)
{
	watch_soon(&a->watch, HINT_MS);
}

static void
on_power(void *arg, const struct call_answer *ans)
{
	struct agent *a = arg;
	struct call *c = a->power;

	if (ans->status < 200 || ans->status >= 300)
		log_warn("agent: power-off answered %d", ans->status);
	a->power = NULL;
	call_free(c);
}

/* What is left of its programs' time: what was said last counts. */
static int
power_say(struct agent *a)
{
	const int64_t left = a->off_by_ms - clock_ms();
	int n, r;

	call_free(a->power);
	a->power = NULL;
	n = a->off_by_ms == 0 ? snprintf(a->power_body, sizeof(a->power_body),
				    "{\"action\":\"off\"}")
			      : snprintf(a->power_body, sizeof(a->power_body),
				    "{\"action\":\"off\",\"grace_ms\":%lld}",
				    left > 1 ? (long long)left : 1);
	r = call_mux(sess_yamux(a->sess), HTTP_POST, "/v1/power", a->power_body,
	    (size_t)n, on_power, a, &a->power);
	a->said_off = r == 0;
	return r;
}

static void
step_spec(struct agent *a)
{
	if (a->booted) {
		forget_spec(a);
		set_step(a, AS_READY);
	} else
		step_boot(a);
}

/* An agent that does not take it is spoken to over virtio-serial alone. */
static void
on_key(void *arg, const struct call_answer *ans)
{
	struct agent *a = arg;
	struct call *c = a->call;

	a->call = NULL;
	if (ans->status == 0)
		agent_fail(a, ans->why);
	else {
		if (ans->status == 200)
			a->ops->key(a->arg, a->key);
		else
			log_warn("agent: no AF_VSOCK: %d", ans->status);
		step_spec(a);
	}
	forget_key(a);
	call_free(c);
}

static char *
put_hex(char *p, uint8_t v)
{
	static const char digits[] = "0123456789abcdef";

	*p++ = digits[v >> 4];
	*p++ = digits[v & 15];
	return p;
}

/*
 * A fresh one for each session, before the boot spec: until then nothing of
 * a stranger runs in the guest that could listen in the agent's place.
 */
static void
step_key(struct agent *a)
{
	char *p = a->key_body + sizeof(KEY_HEAD) - 1;
	size_t i;

	if (getrandom(a->key, sizeof(a->key), 0) != (ssize_t)sizeof(a->key)) {
		agent_fail(a, "key: no entropy");
		return;
	}
	memcpy(a->key_body, KEY_HEAD, sizeof(KEY_HEAD));
	for (i = 0; i < sizeof(a->key); i++)
		p = put_hex(p, a->key[i]);
	memcpy(p, KEY_TAIL, sizeof(KEY_TAIL));
	if (call_mux(sess_yamux(a->sess), HTTP_PUT, "/v1/vsock", a->key_body,
		strlen(a->key_body), on_key, a, &a->call) < 0) {
		agent_fail(a, "key: no stream");
		return;
	}
	set_step(a, AS_KEY);
	set_timer(a, KEY_MS);
}

static void
on_health(void *arg, const struct call_answer *ans)
{
	struct agent *a = arg;
	struct call *c = a->call;
	unsigned int shift = a->asked < 5 ? a->asked : 5;
	long long time_ns;

	a->call = NULL;
	if (ans->status == 0) {
		agent_fail(a, ans->why);
	} else if (ans->status != 200) {
		a->asked++;
		set_timer(a, (long)HEALTH_AGAIN_MS << shift);
	} else {
		a->hellos = 0;
		dial_ok(&a->dial);
		a->booted = health_says(ans, "ready");
		a->has_signals = health_says(ans, "signals");
		a->has_time = health_number(ans, "time_ns", &time_ns);
		look_ooms(a, ans);
		if (health_says(ans, "end"))
			word_ask(&a->word, sess_yamux(a->sess));
		if (a->wants_off && !a->said_off)
			(void)power_say(a);
		if (health_says(ans, "vsock"))
			step_key(a);
		else
			step_spec(a);
	}
	call_free(c);
}

static void
step_health(struct agent *a)
{
	if (call_mux(sess_yamux(a->sess), HTTP_GET, "/healthz", NULL, 0,
		on_health, a, &a->call) < 0) {
		agent_fail(a, "health: no stream");
		return;
	}
	set_timer(a, HEALTH_MS);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct agent *a = arg;

	(void)fd;
	(void)what;
	if (a->step == AS_HEALTH && a->call == NULL) {
		step_health(a);
		agent_kick(a);
		return;
	}
	if (a->step == AS_HELLO)
		dial_ok(&a->dial); /* the hypervisor did nothing wrong */
	agent_fail(a, "no answer in time");
}

static void
mux_up(void *arg, struct yamux *y)
{
	struct agent *a = arg;

	(void)y;
	a->asked = 0;
	set_step(a, AS_HEALTH);
	step_health(a);
}

static void
mux_down(void *arg)
{
	(void)arg; /* a client's session ends by an error of sess_input */
}

/* The guest opens no streams to us: accept_max is 0. */
static int
mux_open(void *arg, struct ystream *s)
{
	(void)arg;
	(void)s;
	return -EACCES;
}

static const struct sess_ops session_ops = {
	.mux = { .open = mux_open, .event = mux_event },
	.up = mux_up,
	.down = mux_down,
};

static void
on_up(void *arg, int fd)
{
	struct agent *a = arg;
	uint8_t nonce[SESS_NONCE];
	unsigned int shift = a->hellos < 5 ? a->hellos : 5;
	long ms = HELLO_FIRST_MS << shift;

	a->fd = fd;
	a->rd = event_new(a->base, fd, EV_READ | EV_PERSIST, on_readable, a);
	a->wr = event_new(a->base, fd, EV_WRITE, on_writable, a);
	if (getrandom(nonce, sizeof(nonce), 0) == (ssize_t)sizeof(nonce))
		a->sess = sess_new(nonce, 0, &session_ops, a);
	if (a->rd == NULL || a->wr == NULL || a->sess == NULL ||
	    event_add(a->rd, NULL) < 0) {
		agent_fail(a, "out of memory");
		return;
	}
	a->hellos++;
	set_step(a, AS_HELLO);
	set_timer(a, ms < HELLO_LAST_MS ? ms : HELLO_LAST_MS);
	agent_kick(a);
}

static void
on_pong_late(int fd, short what, void *arg)
{
	struct agent *a = arg;

	(void)fd;
	(void)what;
	if (a->sess != NULL && sess_yamux(a->sess) != NULL &&
	    yamux_pongs(sess_yamux(a->sess)) == a->pongs)
		agent_fail(a, "no sign of life");
}

void
agent_doubt(struct agent *a)
{
	struct timeval tv = { .tv_sec = PONG_MS / 1000 };
	struct yamux *y = agent_mux(a);

	if (y == NULL || evtimer_pending(a->pong, NULL))
		return;
	a->pongs = yamux_pongs(y);
	if (yamux_ping(y, 1) < 0)
		return;
	(void)evtimer_add(a->pong, &tv);
	agent_kick(a);
}

struct yamux *
agent_mux(const struct agent *a)
{
	if (a->sess == NULL || a->why != NULL || a->step < AS_HEALTH)
		return NULL;
	return sess_yamux(a->sess);
}

int
agent_spec(struct agent *a, int fd)
{
	void *p = NULL;
	size_t len = 0;
	int r = memfd_read(fd, AGENT_SPEC_MAX, &p, &len);

	if (r < 0)
		return r;
	if (a->step == AS_READY || a->step == AS_BOOT) {
		/* no use for it; and a call holds the one it sends */
		explicit_bzero(p, len);
		free(p);
		return 0;
	}
	forget_spec(a);
	a->spec = p;
	a->spec_len = len;
	if (a->step == AS_NEED_SPEC) {
		step_boot(a);
		agent_kick(a);
	}
	return 0;
}

void
agent_retry(struct agent *a)
{
	if (a->fd == -1)
		dial_retry(&a->dial);
}

int
agent_power(struct agent *a, uint32_t grace_ms)
{
	int r;

	a->wants_off = true;
	if (a->power != NULL && grace_ms == 0)
		return 0; /* already asked */
	a->off_by_ms = grace_ms == 0 ? 0 : clock_ms() + grace_ms;
	if (agent_mux(a) == NULL) {
		log_info("agent: not there: told to power off when it is");
		agent_retry(a);
		return 0;
	}
	r = power_say(a);
	agent_kick(a);
	return r;
}

struct agent *
agent_new(struct event_base *base, const struct agent_ops *ops, void *arg)
{
	struct agent *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->base = base;
	a->ops = ops;
	a->arg = arg;
	a->fd = -1;
	a->timer = evtimer_new(base, on_timer, a);
	a->gone = event_new(base, -1, 0, on_gone, a);
	a->pong = evtimer_new(base, on_pong_late, a);
	a->clock = (struct gclock){ .ops = &clock_ops, .arg = a };
	if (a->timer == NULL || a->gone == NULL || a->pong == NULL ||
	    watch_init(&a->watch, base, &watch_ops, a) < 0 ||
	    dial_open(&a->dial, base, WARD_SOCK_AGENT, on_up, a) < 0) {
		agent_free(a);
		return NULL;
	}
	return a;
}

void
agent_free(struct agent *a)
{
	if (a == NULL)
		return;
	dial_close(&a->dial);
	if (a->fd != -1)
		hang_up(a);
	free_event(&a->timer);
	free_event(&a->gone);
	free_event(&a->pong);
	watch_clear(&a->watch);
	forget_spec(a);
	forget_key(a);
	free(a);
}
