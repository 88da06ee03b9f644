#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cur.h"
#include "common/when.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/audit/audit.h"
#include "orchd/orchd.h"
#include "orchd/stored.h"

/* Rows that one request looks at: the loop waits for it. */
#define LOOKED_MAX 250

/* A page that fills. */
struct filling {
	struct orchd *o;
	int64_t tenant; /* AUDIT_ANY: of all chains, and seq is the cursor */
	int64_t since_ns; /* 0: whenever */
	int64_t at; /* cursor of the last row that was looked at */
	struct audit_page page;
};

static int
view(const struct audit_row *row, struct audit_view *v)
{
	int r;

	v->n = (int64_t)row->n;
	v->at = row->at_ns;
	memcpy(v->prev, row->prev, sizeof(v->prev));
	memcpy(v->hash, row->hash, sizeof(v->hash));
	r = table_restore(&stored_audit, row->entry.version, row->entry.text,
	    row->entry.len, &v->entry, NULL);
	if (r == -ENOMEM)
		return r;
	if (r == 0)
		v->has |= TABLE_HAS(AUDIT_VIEW_ENTRY);
	else
		v->intact = false;
	return 0;
}

static int
add_row(void *arg, const struct audit_row *row, bool is_intact)
{
	struct filling *f = arg;
	struct audit_view *rows = f->page.rows.items;

	if (f->page.rows.count == AUDIT_PAGE_MAX)
		return -ECANCELED; /* there are more */
	f->at = f->tenant == AUDIT_ANY ? row->seq : (int64_t)row->n;
	/* one that was damaged is shown whenever it says it was */
	if (row->at_ns < f->since_ns && is_intact)
		return 0;
	rows += f->page.rows.count;
	rows->cursor = f->at;
	rows->number = row->tenant;
	rows->intact = is_intact;
	f->page.rows.count++;
	return view(row, rows);
}

static int
add_head(void *arg, const struct audit_head *h)
{
	struct filling *f = arg;
	struct audit_head_view *v = f->page.heads.items;
	const struct tenant *t = tenant_by_id(&f->o->tenants, h->tenant);

	if (f->page.heads.count == AUDIT_HEADS_MAX ||
	    (f->tenant != AUDIT_ANY && h->tenant != f->tenant))
		return 1;
	v += f->page.heads.count++;
	v->number = h->tenant;
	if (t != NULL)
		(void)memcpy(v->tenant, t->row.name, sizeof(v->tenant));
	v->first = (int64_t)h->first;
	v->last = (int64_t)h->last;
	memcpy(v->hash, h->hash, sizeof(v->hash));
	return 0;
}

static int
fill(struct filling *f, uint64_t after)
{
	const struct audit_query q = { f->tenant, after, LOOKED_MAX, add_head };
	int r;

	f->page.rows.items = calloc(AUDIT_PAGE_MAX, sizeof(struct audit_view));
	f->page.heads.items =
	    calloc(f->tenant == AUDIT_ANY ? AUDIT_HEADS_MAX : 1,
		sizeof(struct audit_head_view));
	if (f->page.rows.items == NULL || f->page.heads.items == NULL)
		return -ENOMEM;
	r = store_audit(f->o->store, &q, add_row, f);
	if (r == LOOKED_MAX || r == -ECANCELED) {
		f->page.next = f->at;
		return 0;
	}
	return r < 0 ? r : 0;
}

static void
answer(const struct req *r, const struct audit_page *page)
{
	struct api_res res = {
		.conn = r->c->id, .status = 200, .doc = API_DOC_OBJECT
	};
	const size_t cap = table_wire_max(&audit_page_table);
	uint8_t *buf = malloc(cap);
	struct wcur w;

	wcur_init(&w, buf, buf != NULL ? cap : 0);
	if (buf == NULL || table_pack(&audit_page_table, page, &w) < 0)
		req_refuse(r, 500, "out of memory");
	else
		answer_doc(r->o, r->id, &res, buf, w.used);
	free(buf);
}

void
verb_audit(const struct req *r)
{
	struct audit_query_view want = { 0 };
	struct filling f = { .o = r->o, .tenant = r->tenant->row.id };
	struct err e = { 0 };
	int k;

	if (r->len > 0 &&
	    table_unpack_all(&audit_query_table, r->doc, r->len, &want, &e) <
		0) {
		req_refuse(r, 400, e.msg);
		return;
	}
	if (want.since[0] != '\0' &&
	    when_parse(want.since, clock_wall_ns(), &f.since_ns, &e) < 0) {
		answer_error(
		    r->o, r->c->id, r->id, 400, "invalid since: %s", e.msg);
		return;
	}
	/* a host admin who chose none sees all */
	if (r->role == TENANT_HOST && r->head.tenant[0] == '\0')
		f.tenant = AUDIT_ANY;
	if ((k = fill(&f, (uint64_t)want.after)) == 0)
		answer(r, &f.page);
	else
		answer_error(r->o, r->c->id, r->id, k == -ENOMEM ? 500 : 503,
		    "the trail cannot be read: %s", strerrordesc_np(-k));
	table_clear(&audit_page_table, &f.page);
}
