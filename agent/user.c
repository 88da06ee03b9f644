#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/user.h"
#include "common/err.h"
#include "common/fds.h"
#include "common/num.h"

#define FILE_MAX (256U * 1024)
#define ID_MAX (UINT32_MAX - 1) /* the last one means "as it is" */
#define FIELDS_MAX 7
#define NAME_MAX_LEN 128

/* One file, read whole. */
struct db {
	char *text;
	char *at; /* the next line */
};

static int
read_whole(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n = 1;

	while (n > 0 && len < size) {
		n = read(fd, buf + len, size - len);
		if (n < 0)
			return -errno;
		len += (size_t)n;
	}
	if (len == size)
		return -EFBIG;
	buf[len] = '\0';
	return 0;
}

/* Whoever made it so is to mend it. */
static int
no_use(struct err *e, int code, const char *path)
{
	(void)err_errno(e, code, "the guest's /%s", path);
	return e->code = -EPROTO;
}

/* A file of the workload's, by whatever links it made within its root. */
static int
db_open(int root, const char *path, struct db *ret, struct err *e)
{
	struct open_how how = { .flags = O_RDONLY | O_NONBLOCK | O_NOCTTY |
		    O_CLOEXEC,
		.resolve =
		    RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
	struct stat st;
	int fd, r = 0;

	*ret = (struct db){ NULL, NULL };
	fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	if (fd < 0)
		return errno == ENOENT ? 0 : no_use(e, -errno, path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		r = err_set(
		    e, -EPROTO, "the guest's /%s is no regular file", path);
	else if ((ret->text = malloc(FILE_MAX + 1)) == NULL)
		r = err_set(e, -ENOMEM, "out of memory");
	else if ((r = read_whole(fd, ret->text, FILE_MAX + 1)) == -EFBIG)
		r = err_set(e, -EPROTO,
		    "the guest's /%s is longer than %u bytes", path, FILE_MAX);
	else if (r < 0)
		r = no_use(e, r, path);
	ret->at = ret->text;
	fd_close(&fd);
	return r;
}

static void
db_close(struct db *db)
{
	free(db->text);
	*db = (struct db){ NULL, NULL };
}

/* The fields of the next line; absent ones are "".  False: that was all. */
static bool
db_next(struct db *db, const char *field[FIELDS_MAX])
{
	char *line;
	size_t i;

	if (db->at == NULL || *db->at == '\0')
		return false;
	line = strsep(&db->at, "\n");
	for (i = 0; i < FIELDS_MAX; i++) {
		const char *p = strsep(&line, ":");

		field[i] = p != NULL ? p : "";
	}
	return true;
}

static bool
get_id(const char *text, uint32_t *ret)
{
	long long v;

	if (num_parse(text, 0, ID_MAX, &v) < 0)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* What passwd has of it: the name first, then the number. */
static bool
in_passwd(struct db *db, const char *name, const uint32_t *number,
    struct user *ret, char own_name[NAME_MAX_LEN])
{
	const char *f[FIELDS_MAX];
	uint32_t uid, gid;

	while (db_next(db, f)) {
		if (!get_id(f[2], &uid) || !get_id(f[3], &gid) ||
		    (number != NULL ? uid != *number : strcmp(f[0], name) != 0))
			continue;
		ret->uid = uid;
		ret->gid = gid;
		(void)snprintf(own_name, NAME_MAX_LEN, "%s", f[0]);
		(void)snprintf(ret->home, sizeof(ret->home), "%s",
		    f[5][0] == '/' && strlen(f[5]) < sizeof(ret->home) ? f[5]
								       : "/");
		return true;
	}
	return false;
}

/* "" in own_name: it has no name there. */
static int
find_user(int root, const char *name, struct user *ret,
    char own_name[NAME_MAX_LEN], struct err *e)
{
	bool found = false, is_number = false;
	uint32_t number = 0;
	struct db db;
	int pass, r;

	own_name[0] = '\0';
	is_number = get_id(name, &number);
	for (pass = 0; pass < (is_number ? 2 : 1) && !found; pass++) {
		if ((r = db_open(root, "etc/passwd", &db, e)) == 0)
			found = in_passwd(&db, name, pass == 0 ? NULL : &number,
			    ret, own_name);
		db_close(&db);
		if (r < 0)
			return r;
	}
	if (found)
		return 0;
	if (!is_number)
		return err_set(e, -ENOENT,
		    "there is no user %.64s in the guest's /etc/passwd", name);
	ret->uid = ret->gid = number;
	return 0;
}

static int
find_group(int root, const char *name, uint32_t *ret, struct err *e)
{
	const char *f[FIELDS_MAX];
	bool found = false;
	struct db db;
	int r = db_open(root, "etc/group", &db, e);

	while (r == 0 && !found && db_next(&db, f))
		found = strcmp(f[0], name) == 0 && get_id(f[2], ret);
	db_close(&db);
	if (r < 0 || found || get_id(name, ret))
		return r;
	return err_set(e, -ENOENT,
	    "there is no group %.64s in the guest's /etc/group", name);
}

static bool
is_member(char *members, const char *name)
{
	const char *m;

	while ((m = strsep(&members, ",")) != NULL) {
		if (strcmp(m, name) == 0)
			return true;
	}
	return false;
}

/* Those that name it; what is beyond the limit is left out. */
static int
find_groups(int root, const char *name, struct user *ret, struct err *e)
{
	const char *f[FIELDS_MAX];
	struct db db;
	uint32_t gid;
	int r = db_open(root, "etc/group", &db, e);

	while (r == 0 && ret->ngroups < USER_GROUPS_MAX && db_next(&db, f)) {
		if (is_member((char *)(uintptr_t)f[3], name) &&
		    get_id(f[2], &gid) && gid != ret->gid)
			ret->groups[ret->ngroups++] = gid;
	}
	db_close(&db);
	return r;
}

int
user_find(int root, const char *text, struct user *ret, struct err *e)
{
	char name[NAME_MAX_LEN], own_name[NAME_MAX_LEN];
	const char *group = strchr(text, ':');
	const size_t len =
	    group != NULL ? (size_t)(group - text) : strlen(text);
	int r;

	*ret = (struct user){ .home = "/" };
	if (len == 0 || len >= sizeof(name))
		return err_set(e, -EINVAL, "no user of such a name");
	memcpy(name, text, len);
	name[len] = '\0';
	if ((r = find_user(root, name, ret, own_name, e)) < 0)
		return r;
	if (group != NULL)
		return find_group(root, group + 1, &ret->gid, e);
	return own_name[0] != '\0' ? find_groups(root, own_name, ret, e) : 0;
}
