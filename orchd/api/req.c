#include <errno.h>
#include <string.h>

#include "common/num.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/object/wait.h"
#include "orchd/object/write.h"
#include "orchd/orchd.h"

void
req_refuse(const struct req *r, unsigned int status, const char *text)
{
	answer_error(r->o, r->c->id, r->id, status, "%s", text);
}

struct vm *
req_vm(const struct req *r)
{
	struct vm *vm = NULL;
	int e = vm_find(r->o, r->tenant, r->head.var[0], &vm);

	if (e == -EEXIST) {
		req_refuse(r, 409, "more than one vm begins with that id");
		return NULL;
	}
	if (e < 0 || vm->obj.life != OBJECT_STORED) {
		req_refuse(r, 404, "vm not found");
		return NULL;
	}
	return vm;
}

struct vm *
req_vm_change(const struct req *r)
{
	const char *name = r->head.var[0];
	struct vm *vm = req_vm(r);

	if (vm == NULL || r->head.key[0] != '\0' ||
	    strcmp(vm->row.name, name) == 0 || strlen(name) == HEX64_LEN)
		return vm;
	req_refuse(r, 404,
	    "no vm has this name, though a uid begins so: give all 16 digits, "
	    "or an Idempotency-Key");
	return NULL;
}

void
req_busy(const struct req *r, const struct share *s, const char *what,
    const char *way)
{
	char words[SHARE_WORDS_MAX];

	share_words(s, r->c->who, words);
	answer_error(r->o, r->c->id, r->id, 503, "too many %s: %s: %s", what,
	    words, way);
}

void
req_unnoted(const struct req *r, int e)
{
	if (e != -EBUSY) {
		req_refuse(r, 500, "out of memory");
		return;
	}
	answer_error(r->o, r->c->id, r->id, 503,
	    "%d requests with an Idempotency-Key for this vm, or %d for all, "
	    "are not written yet, and no more may wait: the store takes "
	    "nothing now, mews doctor says why; try again when it does",
	    WRITE_KEYS_MAX, IDEM_SPARE);
}

int
req_wait(
    const struct req *r, struct object *obj, uint32_t what, unsigned int status)
{
	int e = wait_add(obj, r->c->who, r->c->id, r->id, what, status);

	if (e == 0)
		r->c->waits = obj;
	else if (e == -EBUSY)
		req_busy(r, &obj->waits, "requests wait for this vm",
		    "wait for their answers");
	else
		req_refuse(r, 500, "out of memory");
	return e;
}

void
req_join(
    const struct req *r, struct object *obj, uint32_t what, unsigned int status)
{
	if (req_wait(r, obj, what, status) == 0)
		object_wake(obj);
}

enum idem_verdict
req_key(const struct req *r, struct idem_row *key)
{
	const enum idem_verdict v = idem_look(r->o, r->tenant->row.id,
	    r->c->creds.uid, &r->head, r->verb, r->doc, r->len, key);

	if (v == IDEM_OTHER)
		req_refuse(r, 422,
		    "this Idempotency-Key was used for another request");
	return v;
}
