#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/err.h"
#include "common/name.h"
#include "common/util.h"

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9');
}

static bool
is_uid(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!(s[i] >= '0' && s[i] <= '9') &&
		    !(s[i] >= 'a' && s[i] <= 'f'))
			return false;
	return len == 16;
}

/* What all names here share: the length, the bytes, both ends. */
static int
word_check(const char *s, size_t len, const char *extra, struct err *e)
{
	size_t i;

	if (len == 0)
		return err_set(e, -EINVAL, "must not be empty");
	if (len > NAME_LEN_MAX)
		return err_set(e, -EINVAL, "at most %d characters, not %zu",
		    NAME_LEN_MAX, len);
	for (i = 0; i < len; i++)
		if (!is_alnum(s[i]) &&
		    (s[i] == '\0' || strchr(extra, s[i]) == NULL))
			return err_set(e, -EINVAL,
			    "only letters, digits and \"%s\"", extra);
	if (!is_alnum(s[0]) || !is_alnum(s[len - 1]))
		return err_set(
		    e, -EINVAL, "must start and end with a letter or digit");
	return 0;
}

int
name_check(const char *s, size_t len, struct err *e)
{
	int r;

	if (!RULE(NAME))
		return 0;
	if ((r = word_check(s, len, "._-", e)) < 0)
		return r;
	if (memmem(s, len, "..", 2) != NULL)
		return err_set(e, -EINVAL, "no two dots in a row");
	if (is_uid(s, len))
		return err_set(
		    e, -EINVAL, "16 hex digits would be taken for a uid");
	return 0;
}

int
name_check_hostname(const char *s, size_t len, struct err *e)
{
	return word_check(s, len, "-", e);
}
