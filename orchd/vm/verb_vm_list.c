#include <bsd/stdlib.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cur.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/orchd.h"
#include "orchd/text.h"
#include "orchd/vm/vm_view.h"

static bool
has_text(const char *hay, const char *needle)
{
	return strcasestr(hay, needle) != NULL;
}

static bool
query_fits(const struct vm_query *q, const struct vm *vm)
{
	char ip[16];

	if ((q->has & TABLE_HAS(VM_QUERY_STATUS)) != 0 &&
	    (q->status & (1U << vm->row.state)) == 0)
		return false;
	if (q->runtime[0] != '\0' &&
	    strcasecmp(q->runtime, vm->request.runtime) != 0)
		return false;
	if (q->plugin[0] != '\0' &&
	    strcasecmp(q->plugin, vm->request.plugin) != 0)
		return false;
	if (q->q[0] == '\0')
		return true;
	text_ipv4(vm->row.ipv4, ip, sizeof(ip));
	return has_text(vm->row.name, q->q) || has_text(ip, q->q) ||
	    has_text(vm->request.runtime, q->q);
}

struct sorted {
	const struct vm *vm;
	const struct vm_query *q;
};

static int
cmp_i64(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

static int
cmp_sorted(const void *pa, const void *pb)
{
	const struct sorted *sa = pa, *sb = pb;
	const struct vm *a = sa->vm, *b = sb->vm;
	int r = 0;

	switch ((enum vm_sort)sa->q->sort) {
	case VM_SORT_NAME:
		r = strcmp(a->row.name, b->row.name);
		break;
	case VM_SORT_STATUS:
		r = strcmp(
		    vm_fsm_state(a->row.state), vm_fsm_state(b->row.state));
		break;
	case VM_SORT_RUNTIME:
		r = strcmp(a->request.runtime, b->request.runtime);
		break;
	case VM_SORT_UPDATED_AT:
		r = cmp_i64(a->row.updated_ns, b->row.updated_ns);
		break;
	case VM_SORT_CREATED_AT:
		r = cmp_i64(a->row.created_ns, b->row.created_ns);
		break;
	}
	if (r == 0)
		r = cmp_i64(a->row.id, b->row.id);
	return sa->q->order == VM_ORDER_DESC ? -r : r;
}

/* Packs items [first, end) as a list document.  0 or a negative errno. */
static int
list_pack(const struct sorted *items, size_t first, size_t end, struct wcur *w)
{
	struct vm_view view;
	size_t i;

	(void)wcur_u32(w, (uint32_t)(end - first));
	for (i = first; i < end; i++) {
		vm_view(items[i].vm, &view);
		if (table_pack_item(&vm_table, &view, w) < 0)
			return -E2BIG;
	}
	return w->bad ? -E2BIG : 0;
}

void
verb_vm_list(const struct req *r)
{
	struct api_res res = {
		.conn = r->c->id, .status = 200, .doc = API_DOC_LIST
	};
	struct sorted *items = NULL;
	struct vm_query q = { 0 };
	uint8_t *buf = NULL;
	size_t n = 0, first, end, cap;
	struct wcur w;
	struct err e;
	struct vm *vm;

	if (table_unpack_all(&vm_query_table, r->doc, r->len, &q, &e) < 0) {
		req_refuse(r, 400, e.msg);
		return;
	}
	if ((items = calloc(r->o->vms.n + 1, sizeof(*items))) == NULL)
		goto nomem;
	TAILQ_FOREACH (vm, &r->o->vms.list, entry) {
		if (vm->obj.life != OBJECT_STORED ||
		    vm->obj.tenant != r->tenant || !query_fits(&q, vm))
			continue;
		items[n].vm = vm;
		items[n++].q = &q;
	}
	/* not qsort: glibc's asks the kernel how much memory there is, which
	 * the filter does not let it */
	if (n > 1 && heapsort(items, n, sizeof(*items), cmp_sorted) < 0)
		goto nomem;
	res.total = n;
	first = q.offset < n ? q.offset : n;
	end = n;
	if ((q.has & TABLE_HAS(VM_QUERY_LIMIT)) != 0 && q.limit < end - first)
		end = first + q.limit;
	cap = API_DOC_MAX;
	if (end - first < cap / API_TAIL_MAX)
		cap = 64 + (end - first) * (size_t)API_TAIL_MAX;
	if ((buf = malloc(cap)) == NULL)
		goto nomem;
	wcur_init(&w, buf, cap);
	if (list_pack(items, first, end, &w) < 0)
		req_refuse(
		    r, 500, "the list is too long: use limit and offset");
	else
		answer_doc(r->o, r->id, &res, buf, w.used);
	goto out;
nomem:
	req_refuse(r, 500, "out of memory");
out:
	free(buf);
	free(items);
	table_clear(&vm_query_table, &q);
}
