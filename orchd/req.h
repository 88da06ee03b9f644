#ifndef MEWS_REQ_H
#define MEWS_REQ_H

#include "orchd/orchd.h"

/* The largest request: a vm_create with all the environment it may have. */
#define REQ_DOC_MAX (ENV_BYTES_MAX + 16384)

/* A request under way, as its handler sees it. */
struct req {
	struct orchd *o;
	struct conn *c;
	struct api_req head;
	uint32_t verb;
	uint64_t id; /* message id: the answer repeats it */
	const void *doc;
	size_t len;
};

/* res.c: the connection a late answer is for, its request then counted as
 * answered; NULL: nobody waits any more. */
struct conn *res_conn(struct orchd *o, uint64_t conn, uint64_t id);
void res_send(struct conn *c, uint64_t id, const struct api_res *res,
    const void *tail, size_t len, int fd);
void req_refuse(const struct req *r, unsigned int status, const char *text);
/* Answers with buf as a document of any size. */
void req_answer_doc(
    const struct req *r, struct api_res *res, const void *buf, size_t len);

/* req.c: the VM a request names, or an answer that there is none. */
struct vm *req_vm(const struct req *r);
/* Waits, or says why not; what has come already is answered at once. */
void req_wait(const struct req *r, struct vm *vm, enum wait_for what,
    unsigned int status);
/* What the request's key says; IDEM_OTHER is answered. */
enum idem_verdict req_key(const struct req *r, struct idem_row *key);

/* req_list.c, req_create.c, req_doctor.c: the verbs that are long. */
void req_list(const struct req *r);
void req_create(const struct req *r);
void req_doctor(const struct req *r);

#endif
