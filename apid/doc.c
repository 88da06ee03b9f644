#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apid/doc.h"
#include "common/cur.h"
#include "common/err.h"
#include "common/util.h"
#include "proto/api.h"
#include "proto/jbuf.h"
#include "proto/objects.h"

/* v has room for one object of t. */
static int
item_json(
    const struct table *t, void *v, const void *buf, size_t len, struct jbuf *b)
{
	struct err e;
	int r;

	if ((r = table_unpack_all(t, buf, len, v, &e)) < 0)
		return r;
	table_encode(t, 0, v, b);
	table_clear(t, v);
	return b->r;
}

/* The next item of a list: *p has *len bytes.  0 or -EBADMSG. */
static int
list_item(struct cur *c, const uint8_t **p, uint32_t *len)
{
	if (cur_u32(c, len) < 0 || cur_view(c, p, *len) < 0)
		return -EBADMSG;
	return 0;
}

static int
list_json(
    const struct table *t, void *v, const void *buf, size_t len, struct jbuf *b)
{
	struct cur c;
	const uint8_t *p;
	uint32_t count, n, i;
	int r;

	cur_init(&c, buf, len);
	if (cur_u32(&c, &count) < 0)
		return -EBADMSG;
	jbuf_text(b, "[");
	for (i = 0; i < count; i++) {
		if (i > 0)
			jbuf_text(b, ",");
		if ((r = list_item(&c, &p, &n)) < 0 ||
		    (r = item_json(t, v, p, n, b)) < 0)
			return r;
	}
	jbuf_text(b, "]");
	return cur_end(&c) < 0 ? -EBADMSG : b->r;
}

int
doc_json(const struct table *t, bool list, const void *buf, size_t len,
    struct jbuf *b)
{
	void *v = malloc(t->size);
	int r;

	if (v == NULL)
		return -ENOMEM;
	r = list ? list_json(t, v, buf, len, b) : item_json(t, v, buf, len, b);
	free(v);
	return r;
}

static int
event_text(struct cur *c, uint64_t *after, struct jbuf *b)
{
	struct event_view ev;
	struct err e;
	uint64_t seq;
	int r;

	if (cur_u64(c, &seq) < 0 || seq > INT64_MAX)
		return -EBADMSG;
	/* a number that comes again would be a place to resume from twice */
	if (RULE(API_EVENT_ORDER) && *after != API_NOW && seq <= *after)
		return -EBADMSG;
	if ((r = table_unpack_all(&event_table, c->p, c->left, &ev, &e)) < 0)
		return r;
	jbuf_text(b, "id: ");
	jbuf_int(b, (long long)seq);
	jbuf_text(b, "\nevent: ");
	jbuf_text(b, event_type_names[ev.type]);
	jbuf_text(b, "\ndata: ");
	table_encode(&event_table, 0, &ev, b); /* one line, by its nature */
	jbuf_text(b, "\n\n");
	table_clear(&event_table, &ev);
	*after = seq;
	return b->r;
}

int
doc_events(const void *buf, size_t len, uint64_t *after, struct jbuf *b)
{
	struct cur c, item;
	const uint8_t *p;
	uint32_t count, n, i;
	int r;

	cur_init(&c, buf, len);
	if (cur_u32(&c, &count) < 0)
		return -EBADMSG;
	for (i = 0; i < count; i++) {
		if ((r = list_item(&c, &p, &n)) < 0)
			return r;
		cur_init(&item, p, n);
		if ((r = event_text(&item, after, b)) < 0)
			return r;
	}
	return cur_end(&c) < 0 ? -EBADMSG : b->r;
}
