#include <errno.h>
#include <string.h>

#include "cli/sse.h"

void
sse_init(
    struct sse *s, int (*event)(void *arg, const char *, size_t), void *arg)
{
	memset(s, 0, sizeof(*s));
	s->event = event;
	s->arg = arg;
}

void
sse_again(struct sse *s)
{
	s->begun = s->cr = s->has_data = false;
	s->line_len = s->data_len = 0;
}

static int
dispatch(struct sse *s)
{
	bool has = s->has_data;
	size_t len = s->data_len;

	s->has_data = false;
	s->data_len = 0;
	if (!has)
		return 0;
	return s->event(s->arg, s->data, len > 0 ? len - 1 : 0);
}

static int
add_data(struct sse *s, const char *v, size_t len)
{
	if (len + 1 > sizeof(s->data) - s->data_len)
		return -EMSGSIZE;
	memcpy(s->data + s->data_len, v, len);
	s->data_len += len;
	s->data[s->data_len++] = '\n';
	s->has_data = true;
	return 0;
}

/* It goes back in a header: digits and letters only, nothing else. */
static void
set_id(struct sse *s, const char *v, size_t len)
{
	size_t i;

	if (len >= sizeof(s->id))
		return;
	for (i = 0; i < len; i++) {
		if (!((v[i] >= '0' && v[i] <= '9') ||
			(v[i] >= 'a' && v[i] <= 'z') ||
			(v[i] >= 'A' && v[i] <= 'Z') || v[i] == '-'))
			return;
	}
	memcpy(s->id, v, len);
	s->id[len] = '\0';
}

static int
on_line(struct sse *s)
{
	const char *l = s->line, *v;
	size_t len = s->line_len, name, skip;

	s->line_len = 0;
	if (len == 0)
		return dispatch(s);
	v = memchr(l, ':', len);
	name = v == NULL ? len : (size_t)(v - l);
	skip = v == NULL ? len : name + 1;
	if (skip < len && l[skip] == ' ')
		skip++;
	if (name == 4 && memcmp(l, "data", 4) == 0)
		return add_data(s, l + skip, len - skip);
	if (name == 2 && memcmp(l, "id", 2) == 0)
		set_id(s, l + skip, len - skip);
	return 0;
}

int
sse_feed(struct sse *s, const char *p, size_t len)
{
	static const char bom[] = "\xef\xbb\xbf";
	size_t i;
	int r = 0;

	for (i = 0; i < len && r == 0; i++) {
		if (s->cr && p[i] == '\n') {
			s->cr = false;
			continue;
		}
		s->cr = p[i] == '\r';
		if (p[i] == '\r' || p[i] == '\n') {
			s->begun = true;
			r = on_line(s);
			continue;
		}
		if (s->line_len == sizeof(s->line))
			return -EMSGSIZE;
		s->line[s->line_len++] = p[i];
		if (!s->begun && s->line_len == 3) {
			s->begun = true;
			if (memcmp(s->line, bom, 3) == 0)
				s->line_len = 0;
		}
	}
	return r;
}
