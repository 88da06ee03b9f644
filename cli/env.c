#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/env.h"
#include "common/err.h"
#include "common/fds.h"
#include "common/utf8.h"
#include "common/util.h"
#include "proto/objects.h"

_Static_assert(ENV_LINE_MAX == CMD_WORD_MAX, "one limit");
_Static_assert(nitems(((struct env *)0)->v) == ENV_MAX, "one limit");

static bool
is_name_char(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	    (!first && c >= '0' && c <= '9');
}

static size_t
name_len(const char *s)
{
	size_t n = 0;

	while (is_name_char(s[n], n == 0))
		n++;
	return n;
}

static void
wipe(char *s)
{
	if (s != NULL)
		explicit_bzero(s, strlen(s));
	free(s);
}

/* Takes over text; an older value of the same name goes. */
static int
put(struct env *env, char *text, size_t n, struct err *e)
{
	size_t i;

	for (i = 0; i < env->n; i++) {
		if (strncmp(env->v[i], text, n + 1) == 0) {
			wipe(env->v[i]);
			env->v[i] = text;
			return 0;
		}
	}
	if (env->n == nitems(env->v)) {
		wipe(text);
		return err_set(e, -E2BIG,
		    "more than %zu variables: put the rest into a file that "
		    "the command reads",
		    nitems(env->v));
	}
	env->v[env->n++] = text;
	return 0;
}

/* The value of a variable that was only named. */
static int
own_value(const char *name, size_t n, const char **ret, struct err *e)
{
	*ret = secure_getenv(name);
	if (*ret == NULL)
		return err_set(e, -ENOENT,
		    "%.*s is not set here: set it, or write %.*s=VALUE",
		    (int)(n < 64 ? n : 64), name, (int)(n < 64 ? n : 64), name);
	return 0;
}

int
env_add(struct env *env, const char *text, struct err *e)
{
	size_t n = name_len(text), len;
	const char *value;
	char *p;
	int r;

	if (n == 0 || (text[n] != '=' && text[n] != '\0'))
		return err_set(e, -EINVAL,
		    "a variable is NAME or NAME=VALUE, with letters, digits "
		    "and _ in its name");
	if (text[n] == '=')
		value = text + n + 1;
	else if ((r = own_value(text, n, &value, e)) < 0)
		return r;
	len = strlen(value);
	if (n + 1 + len > ENV_LINE_MAX)
		return err_set(e, -E2BIG,
		    "%.*s and its value are longer than the %zu bytes that "
		    "Linux allows: put it into a file that the command reads",
		    (int)(n < 64 ? n : 64), text, ENV_LINE_MAX);
	if (!utf8_valid(value, len))
		return err_set(e, -EINVAL, "the value of %.*s is not UTF-8",
		    (int)(n < 64 ? n : 64), text);
	if ((p = malloc(n + len + 2)) == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(p, text, n);
	p[n] = '=';
	memcpy(p + n + 1, value, len + 1);
	return put(env, p, n, e);
}

/* One line, without its end. */
static int
add_line(struct env *env, const char *s, size_t len, struct err *e)
{
	char *line;
	int r;

	if (len > ENV_LINE_MAX)
		return err_set(e, -E2BIG,
		    "the line is longer than the %zu bytes that Linux allows "
		    "a variable",
		    ENV_LINE_MAX);
	if (memchr(s, '\0', len) != NULL)
		return err_set(e, -EINVAL, "there is a NUL byte");
	if (len == 0 || s[0] == '#' || strspn(s, " \t") >= len)
		return 0;
	if (s[len - 1] == '\r')
		return err_set(e, -EINVAL,
		    "the line ends as on Windows: convert the file first");
	if ((line = strndup(s, len)) == NULL)
		return err_set(e, -ENOMEM, "out of memory");
	r = env_add(env, line, e);
	wipe(line);
	return r;
}

/* text has a NUL after its len bytes. */
int
env_parse(struct env *env, const char *file, const char *text, size_t len,
    struct err *e)
{
	const char *p = text, *end = text + len, *nl;
	unsigned int line = 0;
	struct err le = { 0 };
	int r;

	while (p < end) {
		line++;
		nl = memchr(p, '\n', (size_t)(end - p));
		if (nl == NULL)
			nl = end;
		if ((r = add_line(env, p, (size_t)(nl - p), &le)) < 0)
			return err_set(
			    e, r, "%.80s:%u: %s", file, line, le.msg);
		p = nl + 1;
	}
	return 0;
}

static int
read_all(int fd, char *buf, size_t cap, size_t *len)
{
	ssize_t n;

	*len = 0;
	while (*len < cap) {
		n = read(fd, buf + *len, cap - *len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		*len += n > 0 ? (size_t)n : 0;
	}
	return -EFBIG;
}

int
env_file(struct env *env, const char *path, struct err *e)
{
	char *buf = NULL;
	size_t len = 0;
	int fd, r;

	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)) < 0)
		return err_errno(e, -errno, "%.100s", path);
	if ((buf = malloc(ENV_FILE_MAX + 1)) == NULL) {
		r = err_set(e, -ENOMEM, "out of memory");
		goto out;
	}
	if ((r = read_all(fd, buf, ENV_FILE_MAX, &len)) < 0) {
		err_errno(e, r, "%.100s", path);
		goto out;
	}
	buf[len] = '\0';
	r = env_parse(env, path, buf, len, e);
out:
	if (buf != NULL)
		explicit_bzero(buf, len);
	free(buf);
	fd_close(&fd);
	return r;
}

int
env_strs(const struct env *env, uint32_t max, struct strs *ret, struct err *e)
{
	size_t i;
	int r;

	for (i = 0; i < env->n; i++) {
		r = strs_add(ret, env->v[i], strlen(env->v[i]), ENV_MAX, max);
		if (r < 0)
			return r == -E2BIG
			    ? err_set(e, r,
				  "the environment has at most %d variables "
				  "and %u bytes: put the rest into a file "
				  "that the command reads",
				  ENV_MAX, max)
			    : err_set(e, r, "out of memory");
	}
	return 0;
}

void
env_clear(struct env *env)
{
	size_t i;

	for (i = 0; i < env->n; i++)
		wipe(env->v[i]);
	env->n = 0;
}
