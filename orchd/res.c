#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "common/cur.h"
#include "common/fds.h"
#include "orchd/req.h"

/* The connection a late answer is for; NULL: nobody waits any more. */
struct conn *
res_conn(struct orchd *o, uint64_t conn, uint64_t id)
{
	struct conn *c = conn_find(o, conn);

	if (c == NULL || c->req != id || conn_chan(c) == NULL)
		return NULL;
	c->req = 0;
	return c;
}

void
res_send(struct conn *c, uint64_t id, const struct api_res *res,
    const void *tail, size_t len, int fd)
{
	if (chan_send2(conn_chan(c), API_RES, id, res, sizeof(*res), tail, len,
		fd) < 0)
		conn_end(c, false); /* an apid that does not read */
}

void
res_error(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status,
    const char *fmt, ...)
{
	struct api_res res = {
		.conn = conn, .status = status, .doc = API_DOC_ERROR
	};
	struct conn *c = res_conn(o, conn, id);
	char text[256];
	va_list ap;

	if (c == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	res_send(c, id, &res, text, strlen(text), -1);
}

void
res_empty(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status)
{
	struct api_res res = { .conn = conn, .status = status };
	struct conn *c = res_conn(o, conn, id);

	if (c != NULL)
		res_send(c, id, &res, NULL, 0, -1);
}

void
res_vm(struct orchd *o, uint64_t conn, uint64_t id, unsigned int status,
    const struct vm *vm)
{
	struct api_res res = {
		.conn = conn, .status = status, .doc = API_DOC_VM
	};
	struct conn *c = res_conn(o, conn, id);
	uint8_t buf[API_TAIL_MAX];
	struct vm_view view;
	struct wcur w;

	if (c == NULL)
		return;
	vm_object(vm, &view);
	wcur_init(&w, buf, sizeof(buf));
	if (table_pack(&vm_table, &view, &w) < 0) {
		c->req = id;
		res_error(o, conn, id, 500, "vm %s does not fit an answer",
		    vm->row.name);
		return;
	}
	res_send(c, id, &res, buf, w.used, -1);
}

void
req_refuse(const struct req *r, unsigned int status, const char *text)
{
	res_error(r->o, r->c->id, r->id, status, "%s", text);
}

void
vm_object(const struct vm *vm, struct vm_view *v)
{
	const struct orchd *o = vm->orchd;

	memset(v, 0, sizeof(*v));
	v->id = vm->row.id;
	(void)snprintf(v->name, sizeof(v->name), "%s", vm->row.name);
	v->status = (uint8_t)vm->row.state;
	(void)snprintf(v->runtime, sizeof(v->runtime), "%s", vm->spec.runtime);
	v->pid = (int32_t)vm->pid;
	format_ipv4(vm->row.ipv4, v->ip_address, sizeof(v->ip_address));
	format_mac(vm->row.mac, v->mac_address, sizeof(v->mac_address));
	v->cpu_cores = (uint32_t)vm->spec.cpu_cores;
	v->memory_mb = (uint32_t)vm->spec.memory_mb;
	(void)snprintf(v->kernel_cmdline, sizeof(v->kernel_cmdline), "%s",
	    vm->spec.kernel_cmdline);
	v->created_at = vm->row.created_ns;
	v->updated_at = vm->row.updated_ns;
	v->uid = vm->row.vmid;
	(void)snprintf(v->image, sizeof(v->image), "%s", vm->spec.image);
	(void)snprintf(v->tenant, sizeof(v->tenant), "%s", o->tenant.name);
	v->ready = vm->ready;
	(void)snprintf(v->reason, sizeof(v->reason), "%s", vm->row.detail);
	if (vm->row.reason != EXIT_NONE && vm->pid == 0) {
		v->has |= TABLE_HAS(VM_EXIT_STATUS);
		v->exit_status = WIFSIGNALED(vm->row.exit_status)
		    ? 128 + WTERMSIG(vm->row.exit_status)
		    : WEXITSTATUS(vm->row.exit_status);
	}
	if (vm->pid == 0)
		return;
	v->accel = vm->accel == ACCEL_KVM ? VM_ACCEL_KVM : VM_ACCEL_TCG;
	v->has |= TABLE_HAS(VM_CONFINEMENT);
	v->confinement.verified = vm->conf.verified != 0;
	v->confinement.seccomp_filters =
	    (uint16_t)(vm->conf.filters < 1024 ? vm->conf.filters : 1024);
	(void)snprintf(v->confinement.cgroup, sizeof(v->confinement.cgroup),
	    "%s", vm->conf.cgroup ? "v2" : "none");
	v->confinement.vsock_cid = vm->conf.cid;
}

/* Sends buf as a document of any size. */
void
req_answer_doc(
    const struct req *r, struct api_res *res, const void *buf, size_t len)
{
	struct conn *c;
	int fd = -1;

	if (len > API_TAIL_MAX) {
		fd = memfd_sealed("doc", buf, len);
		if (fd < 0) {
			req_refuse(r, 500, "out of memory");
			return;
		}
	}
	if ((c = res_conn(r->o, r->c->id, r->id)) == NULL) {
		close_fd(&fd);
		return;
	}
	res_send(c, r->id, res, buf, fd < 0 ? len : 0, fd);
}
