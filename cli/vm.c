#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/cli.h"
#include "cli/sig.h"
#include "cli/vm.h"
#include "common/clock.h"
#include "common/num.h"
#include "common/url.h"

int
vm_target(char target[API_TARGET_MAX], const char *prefix, const char *name,
    const char *tail, struct err *e)
{
	char enc[VM_REF_MAX * 3 + 1];
	int n;

	/* "." and ".." would be taken for a place in the path */
	if (strlen(name) >= VM_REF_MAX || name[strspn(name, ".")] == '\0' ||
	    url_encode(enc, sizeof(enc), name) < 0)
		return err_set(e, -EINVAL, "%.64s is no name of a VM", name);
	n = snprintf(target, API_TARGET_MAX, "%s%s%s", prefix, enc, tail);
	return n < API_TARGET_MAX ? 0 : err_set(e, -EINVAL, "name too long");
}

/* In our words, where the API's are its own or say too little. */
static bool
refusal_of_vm(int status, const char *text, const char *name, struct err *e)
{
	if (status == 404) {
		(void)err_set(e, -EREMOTEIO,
		    "no such VM: %.100s (see `mews ps -a`)", name);
		return true;
	}
	if (status == 409 && strcmp(text, "vm not running") == 0) {
		(void)err_set(e, -EREMOTEIO,
		    "VM %.80s is not running: `mews start %.80s` starts it",
		    name, name);
		return true;
	}
	if (status == 409 && strcmp(text, "no command runs in this vm") == 0) {
		(void)err_set(e, -EREMOTEIO,
		    "no command runs in VM %.80s: `mews stop %.80s` ends the VM",
		    name, name);
		return true;
	}
	if (status == 503 && strcmp(text, "vm not ready yet") == 0) {
		(void)err_set(e, -EREMOTEIO,
		    "VM %.80s is not ready yet: `mews wait --for ready %.80s` "
		    "waits until it is",
		    name, name);
		return true;
	}
	return false;
}

int
vm_refusal(struct cli *c, int status, const char *body, size_t len,
    const char *name, struct err *e)
{
	char text[256];

	if (!api_error_text(body, len, text, sizeof(text)))
		(void)snprintf(text, sizeof(text), "without a reason");
	if (name != NULL && refusal_of_vm(status, text, name, e))
		return -EREMOTEIO;
	/* the numbers, and last what to do: none of it is to be cut off */
	if (status == 503 &&
	    (strncmp(text, "too many ", 9) == 0 ||
		strncmp(text, "too much ", 9) == 0))
		return err_set(e, -EREMOTEIO, "%s", text);
	switch (status) {
	case 401:
	case 403:
		return err_set(e, -EREMOTEIO, "not allowed: %.150s", text);
	case 400:
	case 404: /* what is missing is not a VM, and the text says what */
	case 409:
	case 410:
	case 422:
	case 429:
		return err_set(e, -EREMOTEIO, "%s%s",
		    strcmp(text, "without a reason") == 0 ? "refused " : "",
		    text);
	default:
		return err_set(e, -EREMOTEIO,
		    "the API at %.60s answered %d: %.120s", api_path(c->api),
		    status, text);
	}
}

bool
vm_is_missing(const struct cli *c)
{
	return api_status(c->api) == 404;
}

static int
decode_vm(struct cli *c, const struct api_reply *rp, struct vm_view *ret,
    struct err *e)
{
	struct err de = { 0 };
	int r;

	r = table_decode(&vm_table, 0, rp->body.p, rp->body.len, ret, &de);
	if (r < 0)
		return err_set(e, -EPROTO,
		    "what the API at %.60s says of a VM makes no sense: %.120s",
		    api_path(c->api), de.msg);
	return 0;
}

/* Sends; an answer that is not `want` becomes an error. */
static int
ask(struct cli *c, const struct api_request *rq, int want, const char *name,
    struct api_reply *rp, struct err *e)
{
	int r;

	if ((r = api_call(c->api, rq, rp, e)) < 0)
		return r;
	if (rp->status != want)
		return vm_refusal(
		    c, rp->status, rp->body.p, rp->body.len, name, e);
	return 0;
}

static int
ask_vm(struct cli *c, const char *method, const char *name, const char *tail,
    const char *body, struct vm_view *ret, struct err *e)
{
	struct api_reply rp = { 0 };
	char target[API_TARGET_MAX];
	struct api_request rq = { .method = method,
		.target = target,
		.body = body,
		.keyed = strcmp(method, "GET") != 0 };
	int r;

	r = vm_target(target, "/api/v1/vms/", name, tail, e);
	if (r < 0)
		return r;
	if ((r = ask(c, &rq, 200, name, &rp, e)) == 0)
		r = decode_vm(c, &rp, ret, e);
	api_reply_free(&rp);
	return r;
}

int
vm_get(struct cli *c, const char *name, struct vm_view *ret, struct err *e)
{
	return ask_vm(c, "GET", name, "", NULL, ret, e);
}

int
vm_post(struct cli *c, const char *name, const char *verb, struct vm_view *ret,
    struct err *e)
{
	char tail[32];

	(void)snprintf(tail, sizeof(tail), "/%s", verb);
	return ask_vm(c, "POST", name, tail, NULL, ret, e);
}

/* A request's body, with what is secret; the caller frees b. */
static void
encode(const struct table *t, const void *obj, struct jbuf *b)
{
	jbuf_init(b, TABLE_JSON_MAX);
	b->plain = true; /* the API takes so many bytes */
	table_encode(t, TABLE_SECRETS, obj, b);
}

int
vm_rename(struct cli *c, const char *vm, const char *name, struct vm_view *ret,
    struct err *e)
{
	struct vm_rename rq = { 0 };
	struct jbuf b;
	int r;

	if (strlen(name) >= sizeof(rq.name))
		return err_set(
		    e, -EINVAL, "%.64s... is too long for a name", name);
	(void)snprintf(rq.name, sizeof(rq.name), "%s", name);
	encode(&vm_rename_table, &rq, &b);
	r = b.r < 0 ? err_set(e, b.r, "out of memory")
		    : ask_vm(c, "POST", vm, "/rename", b.p, ret, e);
	jbuf_free(&b);
	return r;
}

int
vm_stop(struct cli *c, const char *name, int timeout, struct vm_view *ret,
    struct err *e)
{
	char verb[32] = "stop";

	if (timeout >= 0)
		(void)snprintf(verb, sizeof(verb), "stop?timeout=%d", timeout);
	return vm_post(c, name, verb, ret, e);
}

/* One object there, one back.  Never sent twice: it has no key. */
static int
act(struct cli *c, const char *name, const char *tail, const struct table *in,
    const void *rq, int want, const struct table *out, void *ret, struct err *e)
{
	struct api_reply rp = { 0 };
	char target[API_TARGET_MAX];
	struct api_request arq = {
		.method = "POST", .target = target, .once = true
	};
	struct jbuf b;
	int r;

	if ((r = vm_target(target, "/api/v1/vms/", name, tail, e)) < 0)
		return r;
	encode(in, rq, &b);
	arq.body = b.p;
	if (b.r < 0)
		r = err_set(e, b.r, "the request is too large");
	else if ((r = ask(c, &arq, want, name, &rp, e)) == 0 &&
	    table_decode(out, 0, rp.body.p, rp.body.len, ret, NULL) < 0)
		r = err_set(e, -EPROTO,
		    "what the API at %.60s answered makes no sense",
		    api_path(c->api));
	api_reply_free(&rp);
	jbuf_free(&b);
	return r;
}

int
vm_kill(struct cli *c, const char *name, uint8_t signal, uint32_t *reached,
    struct err *e)
{
	const struct vm_signal rq = { .signal = signal };
	struct vm_signalled got = { 0 };
	int r = act(c, name, "/kill", &vm_signal_table, &rq, 200,
	    &vm_signalled_table, &got, e);

	*reached = got.signalled;
	return r;
}

int
vm_exec_detached(struct cli *c, const char *name, const struct exec_request *rq,
    int32_t *pid, struct err *e)
{
	struct exec_started got = { 0 };
	int r = act(c, name, "/exec", &exec_request_table, rq, 201,
	    &exec_started_table, &got, e);

	*pid = got.pid;
	return r;
}

int
vm_delete(struct cli *c, const char *name, struct err *e)
{
	struct api_reply rp = { 0 };
	char target[API_TARGET_MAX];
	struct api_request rq = {
		.method = "DELETE", .target = target, .keyed = true
	};
	int r;

	if ((r = vm_target(target, "/api/v1/vms/", name, "", e)) < 0)
		return r;
	r = ask(c, &rq, 204, name, &rp, e);
	api_reply_free(&rp);
	return r;
}

int
vm_create_new(struct cli *c, const struct vm_create *rq, struct vm_view *ret,
    bool *taken, struct err *e)
{
	struct api_reply rp = { 0 };
	struct jbuf b;
	/* not ended at once by the first signal: was it made? */
	struct api_request arq = { .method = "POST",
		.target = "/api/v1/vms",
		.keyed = true,
		.deaf = 1 };
	int r;

	*taken = false;
	encode(&vm_create_table, rq, &b);
	if (b.r < 0) {
		r = err_set(e, b.r, "the request is too large");
		goto out;
	}
	arq.body = b.p;
	if ((r = ask(c, &arq, 201, NULL, &rp, e)) == 0)
		r = decode_vm(c, &rp, ret, e);
	/* 409 is also what became of it meanwhile: the text tells */
	*taken = r < 0 && rp.status == 409 &&
	    strstr(e->msg, "already exists") != NULL;
	if (*taken)
		err_set(e, r, "the name %s is taken: choose another (--name)",
		    rq->name);
out:
	api_reply_free(&rp);
	jbuf_free(&b);
	return r;
}

void
vm_ref(const struct vm_view *vm, char ref[VM_REF_MAX])
{
	if (vm->uid != 0)
		num_format_hex64(vm->uid, ref);
	else
		(void)snprintf(ref, VM_REF_MAX, "%s", vm->name);
}

bool
vm_at_rest(const struct vm_view *vm)
{
	return vm->status == VM_STATUS_CREATED ||
	    vm->status == VM_STATUS_STOPPED || vm->status == VM_STATUS_CRASHED;
}

int
vm_is_ready(const struct vm_view *vm, struct err *e)
{
	if (vm->status == VM_STATUS_RUNNING && vm->ready)
		return 1;
	if (vm->status == VM_STATUS_STOPPED ||
	    vm->status == VM_STATUS_CRASHED || vm->status == VM_STATUS_DELETING)
		return err_set(e, -ECANCELED,
		    "VM %s is %s before it was ready%s%.80s (see `mews logs "
		    "--console %s`)",
		    vm->name, vm_status_names[vm->status],
		    vm->reason[0] == '\0' ? "" : ": ", vm->reason, vm->name);
	return 0;
}

int
vm_is_down(const struct vm_view *vm, struct err *e)
{
	(void)e;
	return vm_at_rest(vm);
}

/* When to ask again: soon at first, for long waits less and less often. */
struct pace {
	int64_t begun, end;
	int ms;
};

static struct pace
pace_begin(int ms)
{
	const int64_t now = clock_ms();

	return (struct pace){ .begun = now, .end = now + ms, .ms = 5 };
}

/* Up to the 100 ms that a person does not notice, or a tenth of the wait. */
static int
back_off(struct pace *p)
{
	const int64_t now = clock_ms(), left = p->end - now;
	const int64_t tenth = (now - p->begun) / 10;

	if (left <= 0)
		return -ETIMEDOUT;
	if (sig_poll(-1, 0, left < p->ms ? (int)left : p->ms) == -EINTR)
		return -EINTR;
	p->ms = p->ms < 50 ? p->ms * 2
	    : tenth < 100  ? 100
	    : tenth < 1000 ? (int)tenth
			   : 1000;
	return 0;
}

int
vm_wait(struct cli *c, const char *ref, int ms,
    int (*done)(const struct vm_view *vm, struct err *e), struct vm_view *ret,
    struct err *e)
{
	struct pace pace = pace_begin(ms);
	int r;

	for (;;) {
		if ((r = vm_get(c, ref, ret, e)) < 0)
			return r;
		if ((r = done(ret, e)) != 0)
			return r < 0 ? r : 0;
		r = back_off(&pace);
		if (r == -ETIMEDOUT)
			return err_set(e, r,
			    "VM %s is still %s after %d seconds (see `mews "
			    "logs --console %s`)",
			    ret->name, vm_status_names[ret->status], ms / 1000,
			    ret->name);
		if (r < 0)
			return r;
	}
}

int
vm_wait_gone(struct cli *c, const char *ref, int ms, struct err *e)
{
	struct pace pace = pace_begin(ms);
	struct vm_view vm;
	int r;

	for (;;) {
		r = vm_get(c, ref, &vm, e);
		if (r < 0)
			return vm_is_missing(c) ? 0 : r;
		r = back_off(&pace);
		if (r == -ETIMEDOUT)
			return err_set(e, r,
			    "VM %s is not gone after %d seconds (see `mews "
			    "inspect %s`)",
			    vm.name, ms / 1000, vm.name);
		if (r < 0)
			return r;
	}
}
