#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/util.h"
#include "mewsd/conf_int.h"
#include "mewsd/table.h"

#define CONF_MAX_BYTES 65536L

/* libconfuse has no place for a caller's error, so the text waits here. */
static struct err *parse_err;
static const char *parse_path;

static void on_parse_error(cfg_t *cfg, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void
on_parse_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[160];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	(void)err_set(
	    parse_err, -EINVAL, "%s, line %d: %s", parse_path, cfg->line, text);
}

/* libconfuse's view of one key. */
static cfg_opt_t
option(const struct conf_key *k)
{
	static char none[] = "{}"; /* libconfuse wants it writable */
	const cfg_opt_t str = CFG_STR(k->name, k->text, CFGF_NONE);
	const cfg_opt_t strs = CFG_STR_LIST(k->name, none, CFGF_NONE);
	const cfg_opt_t num = CFG_INT(k->name, k->num, CFGF_NONE);
	const cfg_opt_t nums = CFG_INT_LIST(k->name, none, CFGF_NONE);

	if (k->type == CFGT_STR)
		return k->list ? strs : str;
	return k->list ? nums : num;
}

/* Every key with its default: the keys' own table, and a user of each room
 * that has one.  The caller frees it. */
static cfg_opt_t *
options(void)
{
	const cfg_opt_t end = CFG_END();
	cfg_opt_t *opts = calloc(conf_nkeys + ROOM_MAX + 1, sizeof(*opts));
	size_t i, n = 0;

	if (opts == NULL)
		return NULL;
	for (i = 0; i < conf_nkeys; i++)
		opts[n++] = option(&conf_keys[i]);
	for (i = 0; i < ROOM_MAX; i++) {
		const struct room_row *row = room_row((uint32_t)i);
		struct conf_key k = { .type = CFGT_STR };

		if (row == NULL || row->user_key == NULL)
			continue;
		k.name = row->user_key;
		k.text = row->user;
		opts[n++] = option(&k);
	}
	opts[n] = end;
	return opts;
}

static int
fill(cfg_t *cfg, const char *root, struct conf *c, struct err *e)
{
	const struct room_row *row;
	uint32_t room;
	size_t i;
	int r;

	for (i = 0; i < conf_nkeys; i++) {
		if ((r = conf_keys[i].set(cfg, &conf_keys[i], c, e)) < 0)
			return r;
	}
	for (room = 0; room < ROOM_MAX; room++) {
		row = room_row(room);
		if (row == NULL || row->user_key == NULL)
			continue;
		r = conf_user(row->user_key, cfg_getstr(cfg, row->user_key),
		    &c->user[room], e);
		if (r < 0)
			return r;
	}
	return conf_check(c, root, e);
}

/* Whoever can write it is root on this host, so only root may. */
static int
read_checked(const char *path, char **ret, struct err *e)
{
	struct stat st;
	char *buf = NULL;
	ssize_t n;
	int fd, r = 0;

	*ret = NULL;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ELOOP)
		return err_set(e, -ELOOP,
		    "%s: is a symbolic link: name the file itself, which root "
		    "alone can write",
		    path);
	if (fd < 0)
		return err_errno(e, -errno, "%s", path);
	if (fstat(fd, &st) < 0) {
		r = err_errno(e, -errno, "%s", path);
		fd_close(&fd);
		return r;
	}
	if (!S_ISREG(st.st_mode))
		r = err_set(e, -EINVAL, "%s: not a regular file", path);
	else if (RULE(CONF_OWNER) && st.st_uid != 0)
		r = err_set(e, -EPERM,
		    "%s belongs to uid %u; it must belong to root", path,
		    st.st_uid);
	else if (RULE(CONF_OWNER) && (st.st_mode & 022) != 0)
		r = err_set(e, -EPERM,
		    "%s can be written by others than root (chmod go-w)", path);
	else if (st.st_size > CONF_MAX_BYTES)
		r = err_set(e, -E2BIG, "%s: larger than %ld bytes", path,
		    CONF_MAX_BYTES);
	else if ((buf = calloc(1, (size_t)st.st_size + 1)) == NULL)
		r = err_set(e, -ENOMEM, "%s: out of memory", path);
	else if ((n = read(fd, buf, (size_t)st.st_size)) < 0)
		r = err_errno(e, -errno, "%s", path);
	else if (strlen(buf) != (size_t)n)
		r = err_set(e, -EINVAL, "%s: has a NUL byte", path);
	fd_close(&fd);
	if (r < 0) {
		free(buf);
		return r;
	}
	*ret = buf;
	return 0;
}

int
conf_load(const char *path, const char *root, struct conf *ret, struct err *e)
{
	char *text = NULL;
	cfg_opt_t *opts = NULL;
	struct conf_lines lines;
	cfg_t *cfg = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	e->msg[0] = '\0';
	if ((r = read_checked(path, &text, e)) < 0)
		return r;
	if ((r = conf_scan(path, text, &lines, e)) < 0)
		goto out;
	if ((opts = options()) == NULL ||
	    (cfg = cfg_init(opts, CFGF_NONE)) == NULL) {
		r = err_set(e, -ENOMEM, "%s: out of memory", path);
		goto out;
	}
	parse_err = e;
	parse_path = path;
	(void)cfg_set_error_function(cfg, on_parse_error);
	if (cfg_parse_buf(cfg, text) != CFG_SUCCESS) {
		if (e->msg[0] == '\0')
			(void)err_set(e, -EINVAL, "%s: not understood", path);
		r = -EINVAL;
		goto out;
	}
	if ((r = fill(cfg, root, ret, e)) < 0)
		conf_locate(path, &lines, e);
out:
	parse_err = NULL;
	if (cfg != NULL)
		(void)cfg_free(cfg);
	free(opts);
	free(text);
	return r;
}
