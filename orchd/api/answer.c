#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/cur.h"
#include "common/fds.h"
#include "orchd/api/access.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/orchd.h"
#include "orchd/tenant/tenant_view.h"
#include "orchd/vm/vm.h"
#include "orchd/vm/vm_view.h"

/* The connection a late answer is for; NULL: nobody waits any more.  why: of
 * a refusal. */
static struct conn *
request_of(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status,
    const char *why)
{
	struct conn *c = conn_find(o, conn);

	if (c == NULL || c->req != id)
		return NULL;
	c->waits = NULL;
	audit_answered(o, &c->ask, status, why);
	if (conn_chan(c) == NULL)
		return NULL;
	conn_answered(c);
	return c;
}

void
answer_send(struct conn *c, uint64_t id, const struct api_res *res,
    const void *tail, size_t len, int fd)
{
	if (fd >= 0 && conn_is_unread(c)) {
		fd_close(&fd);
		conn_end(c, false);
	} else if (chan_send2(conn_chan(c), API_RES, id, res, sizeof(*res),
		       tail, len, fd) < 0)
		conn_end(c, false); /* an apid that does not read */
}

void
answer_error(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status,
    const char *fmt, ...)
{
	struct api_res res = {
		.conn = conn, .status = status, .doc = API_DOC_ERROR
	};
	struct conn *c;
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if ((c = request_of(o, conn, id, status, text)) != NULL)
		answer_send(c, id, &res, text, strlen(text), -1);
}

void
answer_empty(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status)
{
	struct api_res res = { .conn = conn, .status = status };
	struct conn *c = request_of(o, conn, id, status, "");

	if (c != NULL)
		answer_send(c, id, &res, NULL, 0, -1);
}

void
answer_vm(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status,
    const struct vm *vm)
{
	struct api_res res = {
		.conn = conn, .status = status, .doc = API_DOC_OBJECT
	};
	struct conn *c = request_of(o, conn, id, status, "");
	uint8_t buf[API_TAIL_MAX];
	struct vm_view view;
	struct wcur w;

	if (c == NULL)
		return;
	vm_view(vm, &view);
	wcur_init(&w, buf, sizeof(buf));
	if (table_pack(&vm_table, &view, &w) < 0) {
		c->req = id;
		answer_error(o, conn, id, 500, "vm %s does not fit an answer",
		    vm->row.name);
		return;
	}
	answer_send(c, id, &res, buf, w.used, -1);
}

void
answer_tenant(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status,
    const struct tenant *t)
{
	struct api_res res = {
		.conn = conn, .status = status, .doc = API_DOC_OBJECT
	};
	const struct conn *c = conn_find(o, conn);
	uint8_t buf[API_TAIL_MAX];
	struct tenant_view view;
	struct wcur w;
	int r;

	if (c == NULL)
		return;
	wcur_init(&w, buf, sizeof(buf));
	r = tenant_view(t, access_role(c, t), &view);
	if (r == 0)
		r = table_pack(&tenant_table, &view, &w);
	table_clear(&tenant_table, &view);
	if (r < 0)
		answer_error(o, conn, id, 500,
		    "tenant %s does not fit an answer", t->row.name);
	else
		answer_doc(o, id, &res, buf, w.used);
}

void
answer_stream(struct orchd *o, uint64_t conn, uint64_t id, int fd)
{
	struct api_res res = { .conn = conn, .status = 101 };
	struct conn *c = request_of(o, conn, id, 101, "");

	if (c == NULL)
		fd_close(&fd);
	else
		answer_send(c, id, &res, NULL, 0, fd);
}

void
answer_doc(struct orchd *o, uint64_t id, struct api_res *res, const void *buf,
    size_t len)
{
	struct conn *c;
	int fd = -1;

	if (len > API_TAIL_MAX) {
		fd = memfd_sealed("doc", buf, len);
		if (fd < 0) {
			answer_error(o, res->conn, id, 500, "out of memory");
			return;
		}
	}
	if ((c = request_of(o, res->conn, id, res->status, "")) == NULL) {
		fd_close(&fd);
		return;
	}
	answer_send(c, id, res, buf, fd < 0 ? len : 0, fd);
}
