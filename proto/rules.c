#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "common/err.h"
#include "common/name.h"
#include "common/num.h"
#include "proto/rules.h"

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9');
}

/* Letters, digits and extra. */
static bool
is_made_of(const char *s, size_t len, const char *extra)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!is_alnum(s[i]) && strchr(extra, s[i]) == NULL)
			return false;
	return true;
}

/* And a letter or digit first. */
static bool
is_word(const char *s, size_t len, const char *extra)
{
	return len > 0 && is_alnum(s[0]) && is_made_of(s, len, extra);
}

static int
word_ok(const char *s, size_t len, struct err *e)
{
	if (is_word(s, len, "._-"))
		return 0;
	return err_set(e, -EINVAL,
	    "only letters, digits and \"._-\", a letter or digit first");
}

static int
image_ok(const char *s, size_t len, struct err *e)
{
	if (is_word(s, len, "._-/:@") && memmem(s, len, "..", 2) == NULL &&
	    memmem(s, len, "//", 2) == NULL)
		return 0;
	return err_set(e, -EINVAL, "not an image reference");
}

/* Escape codes in a name or line would reach someone's terminal or log. */
static bool
has_control(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return true;
	return false;
}

static int
line_ok(const char *s, size_t len, struct err *e)
{
	return has_control(s, len)
	    ? err_set(e, -EINVAL, "no control characters")
	    : 0;
}

static int
ipv4_ok(const char *s, size_t len, struct err *e)
{
	struct in_addr a;
	char back[INET_ADDRSTRLEN];

	/* there and back: one spelling an address */
	if (len < sizeof(back) && inet_pton(AF_INET, s, &a) == 1 &&
	    inet_ntop(AF_INET, &a, back, sizeof(back)) != NULL &&
	    strcmp(s, back) == 0)
		return 0;
	return err_set(e, -EINVAL, "not an IPv4 address");
}

static int
mac_ok(const char *s, size_t len, struct err *e)
{
	size_t i;

	for (i = 0; len == 17 && i < len; i++)
		if (i % 3 == 2 ? s[i] != ':'
			       : strchr("0123456789abcdef", s[i]) == NULL)
			break;
	/* the lowest bit of the first byte is multicast */
	if (len != 17 || i < len || strchr("02468ace", s[1]) == NULL)
		return err_set(e, -EINVAL, "not a MAC address");
	return 0;
}

static int
env_ok(const char *s, size_t len, struct err *e)
{
	const char *eq = memchr(s, '=', len);

	/* the message never quotes it: the value is a secret */
	if (eq == NULL || eq == s || has_control(s, (size_t)(eq - s)))
		return err_set(e, -EINVAL, "must be NAME=value");
	return 0;
}

static int
path_ok(const char *s, size_t len, struct err *e)
{
	if (s[0] != '/' || has_control(s, len))
		return err_set(e, -EINVAL, "must be an absolute path");
	return 0;
}

static bool
is_account(const char *s, size_t len)
{
	return len > 0 && (s[0] == '_' || is_alnum(s[0])) &&
	    is_made_of(s, len, "._-$");
}

/* A name or number, and perhaps another behind a colon. */
static int
user_ok(const char *s, size_t len, struct err *e)
{
	const char *colon = memchr(s, ':', len);
	const size_t n = colon != NULL ? (size_t)(colon - s) : len;

	if (is_account(s, n) &&
	    (colon == NULL || is_account(colon + 1, len - n - 1)))
		return 0;
	return err_set(e, -EINVAL, "must be USER or USER:GROUP");
}

const struct text_rule rule_name = { name_check,
	"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$" };
const struct text_rule rule_hostname = { name_check_hostname,
	"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$" };
const struct text_rule rule_word = { word_ok, "^[A-Za-z0-9][A-Za-z0-9._-]*$" };
const struct text_rule rule_image = { image_ok,
	"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$" };
const struct text_rule rule_line = { line_ok, NULL };
const struct text_rule rule_ipv4 = { ipv4_ok, NULL };
const struct text_rule rule_mac = { mac_ok,
	"^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$" };
const struct text_rule rule_env = { env_ok, "^[^=]+=" };
const struct text_rule rule_user = { user_ok,
	"^[A-Za-z0-9_][A-Za-z0-9._$-]*(:[A-Za-z0-9_][A-Za-z0-9._$-]*)?$" };
const struct text_rule rule_path = { path_ok, "^/" };
