#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/cli.h"
#include "cli/vm.h"

/*
 * A list that changes while it is read in parts.  New VMs come at its end;
 * one that goes moves all behind it forward, so each part begins with the
 * last VM of the part before: where that is not so, all is read anew.
 */
#define PART 250 /* VMs of one answer: the API's largest ones fit in it */
#define ANEW_MAX 8
#define CHANGED 1

static int
get_part(struct cli *c, const char *query, size_t offset, struct objs *ret,
    struct err *e)
{
	char target[API_TARGET_MAX];
	struct api_request rq = { .method = "GET", .target = target };
	struct api_reply rp = { 0 };
	struct err de = { 0 };
	int r;

	if (snprintf(target, sizeof(target),
		"/api/v1/vms?limit=%d&offset=%zu%s", PART, offset,
		query) >= (int)sizeof(target))
		return err_set(e, -EINVAL, "the filters are too long");
	if ((r = api_call(c->api, &rq, &rp, e)) == 0 && rp.status != 200)
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, NULL, e);
	if (r < 0)
		goto out;
	r = table_decode_list(&vm_table, 0, rp.body.p, rp.body.len, ret, &de);
	if (r < 0)
		err_set(e, r, "the list of VMs makes no sense: %.160s", de.msg);
out:
	api_reply_free(&rp);
	return r;
}

/* Takes over the items; a struct vm_view owns nothing beside itself. */
static int
append(struct objs *all, const struct objs *part, size_t skip, struct err *e)
{
	const struct vm_view *from = part->items;
	const size_t n = part->count - skip;
	struct vm_view *p;

	if (n == 0)
		return 0;
	if (all->count + n > TABLE_LIST_ITEMS_MAX)
		return err_set(e, -E2BIG, "there are more than %d VMs",
		    TABLE_LIST_ITEMS_MAX);
	p = reallocarray(all->items, all->count + n, sizeof(*p));
	if (p == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(p + all->count, from + skip, n * sizeof(*p));
	all->items = p;
	all->count += (uint32_t)n;
	return 0;
}

static bool
is_next(const struct objs *all, const struct objs *part)
{
	const struct vm_view *a = all->items, *b = part->items;

	return all->count == 0 ||
	    (part->count > 0 && a[all->count - 1].uid == b[0].uid &&
		strcmp(a[all->count - 1].name, b[0].name) == 0);
}

/* 0, CHANGED or a negative errno with e. */
static int
get_all(struct cli *c, const char *query, struct objs *all, struct err *e)
{
	struct objs part = { 0 };
	bool more = true;
	size_t skip;
	int r = 0;

	while (r == 0 && more) {
		skip = all->count > 0 ? 1 : 0;
		r = get_part(c, query, all->count - skip, &part, e);
		/* one that knows no limit has sent all at once */
		more = r == 0 && part.count == PART;
		if (r == 0)
			r = is_next(all, &part) ? append(all, &part, skip, e)
						: CHANGED;
		table_clear_list(&vm_table, &part);
	}
	return r;
}

int
vm_list(struct cli *c, const char *query, struct objs *ret, struct err *e)
{
	struct objs all = { 0 };
	int r = CHANGED, i;

	for (i = 0; r == CHANGED && i < ANEW_MAX; i++) {
		table_clear_list(&vm_table, &all);
		all = (struct objs){ 0 };
		r = get_all(c, query, &all, e);
	}
	if (r == CHANGED)
		r = err_set(e, -EAGAIN,
		    "the list of VMs changed %d times while it was read: try "
		    "again",
		    ANEW_MAX);
	if (r < 0)
		table_clear_list(&vm_table, &all);
	else
		*ret = all;
	return r;
}
