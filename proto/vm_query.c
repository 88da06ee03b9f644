#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/err.h"
#include "common/num.h"
#include "common/utf8.h"
#include "common/util.h"
#include "proto/objects.h"

/* One word of a status list; a word that is no state matches nothing. */
static void
add_status(struct vm_query *q, const char *s, size_t len)
{
	uint32_t i;

	q->has |= TABLE_HAS(VM_QUERY_STATUS);
	for (i = VM_STATUS_PENDING; i < VM_STATUS_COUNT; i++)
		if (strlen(vm_status_names[i]) == len &&
		    strncasecmp(vm_status_names[i], s, len) == 0)
			q->status |= UINT32_C(1) << i;
}

static void
add_statuses(struct vm_query *q, const char *s)
{
	size_t len;

	for (;;) {
		s += strspn(s, ", ");
		if ((len = strcspn(s, ", ")) == 0)
			return;
		add_status(q, s, len);
		s += len;
	}
}

static int
set_number(uint32_t *dst, const char *key, const char *value, struct err *e)
{
	long long v;

	if (parse_num(value, 0, INT32_MAX, &v) < 0)
		return err_set(e, -EINVAL, "invalid %s", key);
	*dst = (uint32_t)v;
	return 0;
}

static void
set_sort(struct vm_query *q, const char *value)
{
	uint8_t i;

	for (i = 0; vm_sort_names[i] != NULL; i++)
		if (strcasecmp(vm_sort_names[i], value) == 0)
			q->sort = i;
}

static int
set_value(struct vm_query *q, int i, const char *key, const char *value,
    size_t len, struct err *e)
{
	char *text = i == VM_QUERY_RUNTIME ? q->runtime
	    : i == VM_QUERY_PLUGIN	   ? q->plugin
					   : q->q;

	switch (i) {
	case VM_QUERY_LIMIT:
		return set_number(&q->limit, key, value, e);
	case VM_QUERY_OFFSET:
		return set_number(&q->offset, key, value, e);
	case VM_QUERY_SORT:
		set_sort(q, value);
		return 0;
	case VM_QUERY_DESC:
		q->desc = strcasecmp(value, "desc") == 0;
		return 0;
	default:
		if (len >= sizeof(q->q))
			return err_set(e, -EINVAL, "%s: at most %zu bytes", key,
			    sizeof(q->q) - 1);
		memcpy(text, value, len + 1);
		return 0;
	}
}

int
vm_query_add(struct vm_query *q, const char *key, const char *value, size_t len,
    struct err *e)
{
	static const char *const keys[] = { "status", "runtime", "plugin", "q",
		"limit", "offset", "sort", "order" };
	size_t i;
	int r;

	for (i = 0; i < nitems(keys); i++)
		if (strcmp(keys[i], key) == 0)
			break;
	if (i == nitems(keys))
		return 0;
	if (strlen(value) != len || !utf8_valid(value, len))
		return err_set(e, -EINVAL, "invalid %s", key);
	if (i == VM_QUERY_STATUS) {
		add_statuses(q, value);
		return 0;
	}
	/* empty is absent, and of several the first counts */
	if (len == 0 || (q->has & TABLE_HAS(i)) != 0)
		return 0;
	if ((r = set_value(q, (int)i, key, value, len, e)) < 0)
		return r;
	q->has |= TABLE_HAS(i);
	return 0;
}
