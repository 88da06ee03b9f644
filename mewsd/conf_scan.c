#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/util.h"
#include "mewsd/conf_int.h"

/*
 * A look at the text of mews.conf beside libconfuse's, for what that lets
 * pass: a key that is set twice, a comment that does not end, numbers that
 * are octal or hexadecimal.  It also knows in which line each key is.
 */
struct scan {
	const char *path;
	const char *at;
	unsigned int line;
	struct err *e;
};

enum token { T_END, T_WORD, T_STRING, T_PUNCT, T_BAD };

static int
bad(const struct scan *s, unsigned int line, const char *what)
{
	return err_set(s->e, -EINVAL, "%s, line %u: %s", s->path, line, what);
}

/* To behind the next end; false: there is none. */
static bool
skip_to(struct scan *s, const char *end)
{
	const char *found = strstr(s->at, end);
	const char *stop =
	    found == NULL ? s->at + strlen(s->at) : found + strlen(end);

	for (; s->at < stop; s->at++)
		s->line += *s->at == '\n';
	return found != NULL;
}

/* White space and comments; negative: one that does not end. */
static int
skip_blank(struct scan *s)
{
	for (;;) {
		unsigned int line;

		while (*s->at != '\0' && strchr(" \t\r\n", *s->at) != NULL)
			s->line += *s->at++ == '\n';
		if (s->at[0] == '#' || (s->at[0] == '/' && s->at[1] == '/')) {
			(void)skip_to(s, "\n");
			continue;
		}
		if (s->at[0] != '/' || s->at[1] != '*')
			return 0;
		s->at += 2;
		line = s->line;
		if (!skip_to(s, "*/"))
			return bad(s, line,
			    "a comment begins here and has no "
			    "end");
	}
}

static enum token
quoted(struct scan *s)
{
	const unsigned int line = s->line;
	const char quote = *s->at++;

	for (; *s->at != '\0' && *s->at != quote; s->at++) {
		if (s->at[0] == '\\' && s->at[1] != '\0')
			s->at++;
		s->line += *s->at == '\n';
	}
	if (*s->at == '\0') {
		(void)bad(s, line, "a text begins here and has no end");
		return T_BAD;
	}
	s->at++;
	return T_STRING;
}

/* The next one; a word is cut to what buf has room for, as no key is longer. */
static enum token
token_next(struct scan *s, char *buf, size_t size)
{
	size_t len;

	buf[0] = '\0';
	if (skip_blank(s) < 0)
		return T_BAD;
	if (*s->at == '\0')
		return T_END;
	if (*s->at == '"' || *s->at == '\'')
		return quoted(s);
	len = strcspn(s->at, " \t\r\n\"'#={}(),+/");
	if (len == 0) {
		(void)snprintf(buf, size, "%c", *s->at++);
		return T_PUNCT;
	}
	(void)snprintf(buf, size, "%.*s", (int)len, s->at);
	s->at += len;
	return T_WORD;
}

static bool
is_number_key(const char *key)
{
	size_t i;

	for (i = 0; i < conf_nkeys; i++) {
		if (strcmp(conf_keys[i].name, key) == 0)
			return conf_keys[i].type == CFGT_INT;
	}
	return false;
}

static int
key_found(struct scan *s, struct conf_lines *l, const char *key, bool more)
{
	char what[128];
	size_t i;

	for (i = 0; i < l->n && !more; i++) {
		if (strcmp(l->at[i].key, key) != 0)
			continue;
		(void)snprintf(what, sizeof(what),
		    "%s is set a second time (first in line %u)", key,
		    l->at[i].line);
		return bad(s, s->line, what);
	}
	if (l->n < nitems(l->at)) {
		(void)snprintf(
		    l->at[l->n].key, sizeof(l->at[0].key), "%s", key);
		l->at[l->n++].line = s->line;
	}
	return 0;
}

/* libconfuse would take 010 for eight and 0x10 for sixteen. */
static int
number_check(const struct scan *s, const char *key, const char *word)
{
	char what[160];

	if (!is_number_key(key) || word[0] != '0' || word[1] == '\0')
		return 0;
	(void)snprintf(what, sizeof(what),
	    "%s = %.40s: numbers are decimal and do not begin with 0", key,
	    word);
	return bad(s, s->line, what);
}

int
conf_scan(
    const char *path, const char *text, struct conf_lines *ret, struct err *e)
{
	struct scan s = { .path = path, .at = text, .line = 1, .e = e };
	char word[CONF_KEY_MAX] = "", prev[CONF_KEY_MAX] = "",
	     key[CONF_KEY_MAX];
	bool more = false; /* the + of a += came */
	enum token t;
	int r = 0;

	ret->n = 0;
	key[0] = '\0';
	while (r == 0 && (t = token_next(&s, word, sizeof(word))) != T_END) {
		if (t == T_BAD)
			return -EINVAL;
		if (t == T_WORD) {
			r = number_check(&s, key, word);
			memcpy(prev, word, sizeof(prev));
		} else if (t == T_PUNCT && word[0] == '=' && prev[0] != '\0') {
			memcpy(key, prev, sizeof(key));
			r = key_found(&s, ret, key, more);
		}
		more = t == T_PUNCT && word[0] == '+';
		if (t != T_WORD && !more)
			prev[0] = '\0';
	}
	return r;
}

void
conf_locate(const char *path, const struct conf_lines *l, struct err *e)
{
	char msg[sizeof(e->msg)];
	size_t i, len;

	memcpy(msg, e->msg, sizeof(msg));
	for (i = 0; i < l->n; i++) {
		len = strlen(l->at[i].key);
		if (strncmp(msg, l->at[i].key, len) == 0 &&
		    strchr(" :,", msg[len]) != NULL && msg[len] != '\0')
			break;
	}
	if (i < l->n)
		(void)err_set(e, e->code, "%.100s, line %u: %s", path,
		    l->at[i].line, msg);
	else
		(void)err_set(e, e->code, "%.100s: %s", path, msg);
}
