#include "warden/health.h"
#include "proto/jread.h"
#include "warden/call.h"

bool
health_says(const struct call_answer *ans, const char *word)
{
	struct jread j, at;
	bool yes;

	return jread_open(&j, (const char *)ans->body, ans->len) == 0 &&
	    jread_find(&j, word, &at) == 0 && jread_peek(&at) == JREAD_BOOL &&
	    jread_bool(&at, &yes) == 0 && yes;
}

bool
health_number(const struct call_answer *ans, const char *word, long long *ret)
{
	struct jread j, at;

	return jread_open(&j, (const char *)ans->body, ans->len) == 0 &&
	    jread_find(&j, word, &at) == 0 && jread_peek(&at) == JREAD_NUMBER &&
	    jread_int(&at, ret) == 0;
}
