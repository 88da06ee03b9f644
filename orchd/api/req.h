#ifndef MEWS_REQ_H
#define MEWS_REQ_H

#include <stddef.h>
#include <stdint.h>

#include "orchd/object/idem.h"
#include "orchd/vm/vm.h"
#include "proto/api.h"

struct conn;
struct orchd;
struct tenant;

/* The largest request: a vm_create with all the environment it may have. */
#define REQ_DOC_MAX (ENV_BYTES_MAX + 16384)

/* A request under way, as its verb sees it. */
struct req {
	struct orchd *o;
	struct conn *c;
	struct tenant *tenant; /* whose things it is about, and its key */
	struct tenant *named; /* that the path names; NULL: none, or none that
				 is there (for host admins alone) */
	enum tenant_role role; /* of its caller in that */
	struct api_req head;
	uint32_t verb;
	uint64_t id; /* message id: the answer repeats it */
	const void *doc;
	size_t len;
};

void req_refuse(const struct req *r, unsigned int status, const char *text);
/* The VM a request names, or an answer that there is none. */
struct vm *req_vm(const struct req *r);
/*
 * The same for what changes it.  Without a key the beginning of a uid will not
 * do: a retry that names what is gone by now would find another VM by it.
 */
struct vm *req_vm_change(const struct req *r);
/* Says that no more of what is shared may be had now: "too many WHAT: ...".
 * way is what to do about it. */
void req_busy(const struct req *r, const struct share *s, const char *what,
    const char *way);
/* The request is answered when what has come.  0, or the answer is why not. */
int req_wait(const struct req *r, struct object *obj, uint32_t what,
    unsigned int status);
/* The same for what may have come already, or it says why not. */
void req_join(const struct req *r, struct object *obj, uint32_t what,
    unsigned int status);
/* Its key was not noted: -ENOMEM, -EBUSY of write.h. */
void req_unnoted(const struct req *r, int e);
/* What the request's key says; IDEM_OTHER is answered. */
enum idem_verdict req_key(const struct req *r, struct idem_row *key);

#endif
