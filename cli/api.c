#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "cli/addr.h"
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/sig.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/num.h"
#include "proto/objects.h"

struct api {
	CURLM *multi; /* so that a signal ends a wait */
	CURL *easy;
	bool reached;
	bool sent; /* in the last call */
	int status; /* of the last call's answer */
	char path[ADDR_PATH_MAX];
	char tenant[NAME_LEN_MAX + 1]; /* "": none is chosen */
};

/* One try of one request. */
struct
try {
	struct api *a;
	const struct api_request *rq;
	struct api_reply *rp;
	size_t head; /* bytes of it so far */
	bool has_head; /* its empty line was there */
	bool streamed; /* the sink had something */
	int sink_r;
	long os_errno;
	int64_t deaf_until; /* 0: no signal came */
};

#define KEY_LEN 32 /* 128 random bits in hex */

int
api_open(const char *host, const char *tenant, struct api **ret, struct err *e)
{
	struct api *a = calloc(1, sizeof(*a));
	struct err why = { 0 };
	int r;

	if (a == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	if ((r = addr_parse(host, a->path, e)) < 0)
		goto out;
	if (tenant != NULL &&
	    (r = name_check(tenant, strlen(tenant), &why)) < 0) {
		r = err_set(e, r, "%.70s is no name of a tenant: %.120s",
		    tenant, why.msg);
		goto out;
	}
	if (tenant != NULL)
		(void)snprintf(a->tenant, sizeof(a->tenant), "%s", tenant);
	if ((a->multi = curl_multi_init()) == NULL ||
	    (a->easy = curl_easy_init()) == NULL) {
		r = err_set(e, -ENOMEM, "out of memory");
		goto out;
	}
	*ret = a;
	a = NULL;
out:
	api_close(a);
	return r;
}

void
api_close(struct api *a)
{
	if (a == NULL)
		return;
	if (a->easy != NULL)
		curl_easy_cleanup(a->easy);
	if (a->multi != NULL)
		curl_multi_cleanup(a->multi);
	free(a);
}

const char *
api_tenant(const struct api *a)
{
	return a->tenant[0] != '\0' ? a->tenant : NULL;
}

const char *
api_path(const struct api *a)
{
	return a->path;
}

bool
api_was_reached(const struct api *a)
{
	return a->reached;
}

int
api_status(const struct api *a)
{
	return a->status;
}

void
api_set_status(struct api *a, int status)
{
	a->status = status;
	a->reached = a->reached || status != 0;
}

bool
api_maybe_done(const struct api *a)
{
	return a->sent && a->status == 0;
}

const char *
api_header(const struct api *a, const char *name)
{
	struct curl_header *h;

	return curl_easy_header(a->easy, name, 0, CURLH_HEADER, -1, &h) ==
		CURLHE_OK
	    ? h->value
	    : NULL;
}

void
api_reply_free(struct api_reply *rp)
{
	jbuf_free(&rp->body);
}

static int
key_new(char key[KEY_LEN + 1])
{
	uint64_t v[2];

	if (getrandom(v, sizeof(v), 0) != (ssize_t)sizeof(v))
		return -EIO;
	num_format_hex64(v[0], key);
	num_format_hex64(v[1], key + HEX64_LEN);
	return 0;
}

static size_t
on_head(char *p, size_t one, size_t len, void *arg)
{
	struct try *t = arg;

	(void)one;
	t->head += len;
	/* after a 1xx comes another head; trailers come after the body */
	if (len >= 5 && memcmp(p, "HTTP/", 5) == 0)
		t->has_head = false;
	if (len == 2 && memcmp(p, "\r\n", 2) == 0)
		t->has_head = true;
	return t->head > API_HEAD_MAX ? 0 : len;
}

static size_t
on_body(char *p, size_t one, size_t len, void *arg)
{
	struct try *t = arg;
	long status = 0;

	(void)one;
	(void)curl_easy_getinfo(t->a->easy, CURLINFO_RESPONSE_CODE, &status);
	if (t->rq->sink != NULL && status >= 200 && status < 300) {
		t->streamed = true;
		t->sink_r = t->rq->sink(t->rq->arg, p, len);
		return t->sink_r < 0 ? 0 : len;
	}
	jbuf_raw(&t->rp->body, p, len);
	return t->rp->body.r < 0 ? 0 : len;
}

static bool
header_add(struct curl_slist **list, const char *name, const char *value)
{
	struct curl_slist *l;
	char line[256];

	(void)snprintf(line, sizeof(line), "%s: %s", name, value);
	if ((l = curl_slist_append(*list, line)) == NULL)
		return false;
	*list = l;
	return true;
}

static int
headers(const struct api *a, const struct api_request *rq, const char *key,
    struct curl_slist **ret)
{
	if ((api_tenant(a) != NULL &&
		!header_add(ret, "X-Mews-Tenant", a->tenant)) ||
	    (rq->body != NULL &&
		!header_add(ret, "Content-Type", "application/json")) ||
	    (rq->keyed && !header_add(ret, "Idempotency-Key", key)) ||
	    (rq->last_event_id != NULL &&
		!header_add(ret, "Last-Event-ID", rq->last_event_id)))
		return -ENOMEM;
	return 0;
}

static long
try_ms(const struct api_request *rq)
{
	if (rq->keyed)
		return API_ACT_MS;
	return rq->once ? API_STREAM_MS : API_TRY_MS;
}

/* Whatever the environment says about proxies, this goes to the socket. */
static int
setup(struct try *t, struct curl_slist *list)
{
	const struct api_request *rq = t->rq;
	CURL *c = t->a->easy;
	char url[API_TARGET_MAX + 32];
	CURLcode r;

	curl_easy_reset(c);
	(void)snprintf(url, sizeof(url), "http://localhost%s", rq->target);
	r = curl_easy_setopt(c, CURLOPT_URL, url);
	r |= curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, t->a->path);
	r |= curl_easy_setopt(c, CURLOPT_PROXY, "");
	r |= curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
	r |= curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	r |= curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	r |= curl_easy_setopt(
	    c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	r |= curl_easy_setopt(c, CURLOPT_USERAGENT, "mews/" CLI_VERSION);
	r |= curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
	r |= curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head);
	r |= curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	r |= curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	r |= curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	if (rq->body != NULL) {
		r |= curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)strlen(rq->body));
		r |= curl_easy_setopt(c, CURLOPT_POSTFIELDS, rq->body);
	} else if (strcmp(rq->method, "POST") == 0) {
		r |= curl_easy_setopt(
		    c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
		r |= curl_easy_setopt(c, CURLOPT_POSTFIELDS, "");
	}
	r |= curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
	if (rq->sink == NULL)
		r |= curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, try_ms(rq));
	return r == CURLE_OK ? 0 : -ENOMEM;
}

/* Is it to end now because of a signal? */
static bool
is_ended(struct try *t)
{
	const unsigned int n = sig_count();

	if (n > 0 && t->deaf_until == 0)
		t->deaf_until = clock_ms() + API_DEAF_MS;
	return n > t->rq->deaf || (n > 0 && clock_ms() >= t->deaf_until);
}

/* Waits for more, at most a second; says when nothing came for idle_ms. */
static int
wait_more(struct try *t, int *running)
{
	struct curl_waitfd sig = { .fd = sig_fd(), .events = CURL_WAIT_POLLIN };
	const int idle = t->rq->idle == NULL ? 1000 : t->rq->idle_ms;
	CURLM *m = t->a->multi;
	int n = 0;

	if (is_ended(t))
		return -EINTR;
	if (*running > 0 &&
	    curl_multi_poll(m, &sig, sig_fd() >= 0 ? 1 : 0,
		idle < 1000 ? idle : 1000, &n) != CURLM_OK)
		*running = 0;
	if (*running > 0 && n == 0 && t->rq->idle != NULL && t->has_head)
		return t->sink_r = t->rq->idle(t->rq->arg);
	return 0;
}

/* 0 with the transfer's outcome, or -EINTR. */
static int
transfer(struct try *t, CURLcode *ret)
{
	CURLM *m = t->a->multi;
	int running = 1, left = 0, r = 0;
	CURLMsg *msg;

	*ret = CURLE_FAILED_INIT;
	if (curl_multi_add_handle(m, t->a->easy) != CURLM_OK)
		return 0;
	while (running > 0 && r == 0) {
		if (curl_multi_perform(m, &running) != CURLM_OK)
			break;
		r = wait_more(t, &running);
	}
	while ((msg = curl_multi_info_read(m, &left)) != NULL) {
		if (msg->msg == CURLMSG_DONE)
			*ret = msg->data.result;
	}
	(void)curl_easy_getinfo(t->a->easy, CURLINFO_OS_ERRNO, &t->os_errno);
	(void)curl_multi_remove_handle(m, t->a->easy);
	return r;
}

int
api_unreachable(const struct api *a, int code, struct err *e)
{
	char text[64];

	if (code == -ENOENT)
		return err_set(e, code,
		    "cannot reach the API at %s: there is no such socket (is "
		    "mewsd running? is $MEWS_API right?)",
		    a->path);
	if (code == -ECONNRESET)
		return err_set(e, code,
		    "the API at %s closed the connection without an answer "
		    "(is mewsd running?)",
		    a->path);
	cli_errno_text(code, text, sizeof(text));
	return err_set(e, code,
	    "cannot reach the API at %s: %s (is mewsd running? is your user "
	    "listed in mews.conf?)",
	    a->path, text);
}

/* A CURLcode as an errno: those of can_retry() are worth another try. */
static int
outcome(const struct try *t, CURLcode c, struct err *e)
{
	/* closed before the library had looked: it says "not connected" with
	 * no number, or with that of a write before */
	const bool closed = t->os_errno == 0 || t->os_errno == EPIPE;
	const int connect_r = closed ? -ECONNRESET : (int)-t->os_errno;

	if (t->sink_r < 0)
		return t->sink_r;
	switch (c) {
	case CURLE_OK:
		/* the library takes a head that was cut for a whole one */
		if (!t->has_head)
			return api_unreachable(t->a, -ECONNRESET, e);
		return 0;
	case CURLE_COULDNT_CONNECT:
		return api_unreachable(t->a, connect_r, e);
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
		if (t->streamed)
			return err_set(e, -EPIPE, "the connection broke");
		return api_unreachable(t->a, -ECONNRESET, e);
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(e, -ETIMEDOUT,
		    "the API at %s did not answer within %d seconds",
		    t->a->path, (int)(try_ms(t->rq) / 1000));
	case CURLE_OUT_OF_MEMORY:
		return err_set(e, -ENOMEM, "out of memory");
	default:
		break;
	}
	if (t->head > API_HEAD_MAX || t->rp->body.r == -EMSGSIZE)
		return err_set(e, -EPROTO,
		    "the answer of the API at %s is too long", t->a->path);
	return err_set(e, -EPROTO, "what answers at %s is no API: %s",
	    t->a->path, curl_easy_strerror(c));
}

static int
try_once(struct api *a, const struct api_request *rq, const char *key,
    struct api_reply *rp, struct err *e)
{
	struct try t = { .a = a, .rq = rq, .rp = rp };
	struct curl_slist *list = NULL;
	long status = 0;
	CURLcode c;
	int r;

	jbuf_free(&rp->body);
	jbuf_init(&rp->body, API_BODY_MAX);
	rp->status = a->status = 0;
	if ((r = headers(a, rq, key, &list)) < 0 || (r = setup(&t, list)) < 0) {
		err_set(e, r, "out of memory");
		goto out;
	}
	r = transfer(&t, &c);
	a->sent = a->sent || c != CURLE_COULDNT_CONNECT;
	if (r < 0 || (r = outcome(&t, c, e)) < 0)
		goto out;
	(void)curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
	rp->status = (int)status;
	api_set_status(a, rp->status);
out:
	curl_slist_free_all(list);
	return r;
}

/* Milliseconds that the answer asks for, or -1. */
static int
retry_after_ms(const struct api *a, const struct api_reply *rp)
{
	const char *v;
	long long s;

	if ((rp->status != 503 && rp->status != 429) ||
	    (v = api_header(a, "Retry-After")) == NULL ||
	    num_parse(v, 0, 3600, &s) < 0)
		return -1;
	return s == 0 ? 50 : (int)s * 1000;
}

static bool
can_retry(int r, bool reached)
{
	return r == -ECONNRESET || r == -ECONNREFUSED || r == -EAGAIN ||
	    (r == -ENOENT && reached);
}

/* Waits before the next try; -EINTR, or -ETIMEDOUT: there will be none. */
static int
pause_ms(const struct api_request *rq, int ms, int64_t until)
{
	int64_t end = clock_ms() + ms;
	int64_t left;

	if (end >= until)
		return -ETIMEDOUT;
	while ((left = end - clock_ms()) > 0) {
		if (sig_count() > rq->deaf)
			return -EINTR;
		/* with a signal that does not count, in small steps */
		if (rq->deaf > 0)
			(void)poll(NULL, 0, left < 50 ? (int)left : 50);
		else if (sig_poll(-1, 0, (int)left) == -EINTR)
			return -EINTR;
	}
	return 0;
}

int
api_call(struct api *a, const struct api_request *rq, struct api_reply *rp,
    struct err *e)
{
	char key[KEY_LEN + 1] = "";
	int64_t until = 0, began;
	int r, ms, wait = 10;

	*rp = (struct api_reply){ 0 };
	a->sent = false;
	a->status = 0;
	if (rq->keyed && (r = key_new(key)) < 0)
		return err_errno(e, r, "no random numbers");
	for (;;) {
		began = clock_ms();
		r = try_once(a, rq, key, rp, e);
		ms = r == 0 ? retry_after_ms(a, rp) : wait;
		if (ms < 0 || (r < 0 && !can_retry(r, a->reached)) ||
		    (r < 0 && rq->once && a->sent))
			return r;
		if (until == 0)
			until = (r == 0 && !rq->keyed ? began : clock_ms()) +
			    (a->reached || r == -ECONNRESET ? API_RETRY_MS
							    : API_REFUSED_MS);
		switch (pause_ms(rq, ms, until)) {
		case -EINTR:
			return -EINTR;
		case -ETIMEDOUT:
			return r;
		default:
			wait = wait < 100 ? wait * 2 : 200;
		}
	}
}

bool
api_error_text(const char *body, size_t len, char *buf, size_t cap)
{
	static const char volant[] = "orchestrator: ";
	struct api_error ae;
	const char *text = ae.error;

	if (len == 0 || table_decode(&api_error_table, 0, body, len, &ae, NULL))
		return false;
	/* Volant's word for its own inside, which nobody here has met */
	if (strncmp(text, volant, sizeof(volant) - 1) == 0)
		text += sizeof(volant) - 1;
	(void)snprintf(buf, cap, "%s", text);
	table_clear(&api_error_table, &ae);
	return buf[0] != '\0';
}
