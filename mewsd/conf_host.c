#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/num.h"
#include "common/util.h"
#include "mewsd/conf_int.h"

/*
 * What of a configuration this host has something to say to: whose uids are
 * whose, who may write where the suite keeps its state, whether there is a
 * staged tree.
 */
#define UID_NOBODY 65534U
#define UID_16BIT 65535U /* (uid_t)-1 of old programs */
/* where systemd makes users of its own as it goes (DynamicUser=) */
#define UID_DYNAMIC 61184U
#define UID_DYNAMIC_END 65520U

static bool
overlaps(const struct uids *u, uint64_t first, uint64_t count)
{
	return count > 0 && first < (uint64_t)u->base + u->count &&
	    u->base < first + count;
}

static int
refuse(const struct uids *u, struct err *e, const char *whose)
{
	return err_set(e, -EINVAL,
	    "uid_base = %u: the range to %u touches %s: choose one that is "
	    "nobody's",
	    u->base, u->base + u->count - 1, whose);
}

/* Users of this host.  What a name service has beside them is not listed. */
static int
check_passwd(const struct uids *u, struct err *e)
{
	FILE *f = fopen("/etc/passwd", "re");
	const struct passwd *pw;
	char whose[96];
	int r = 0;

	while (f != NULL && r == 0 && (pw = fgetpwent(f)) != NULL) {
		if (!overlaps(u, pw->pw_uid, 1))
			continue;
		(void)snprintf(whose, sizeof(whose), "uid %u of %.60s",
		    pw->pw_uid, pw->pw_name);
		r = refuse(u, e, whose);
	}
	if (f != NULL)
		(void)fclose(f);
	return r;
}

/* NAME:FIRST:COUNT, subuid(5): what people's containers have. */
static int
check_sub(const struct uids *u, const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");
	char line[256], whose[128], *name, *first, *count, *save;
	long long at, n;
	int r = 0;

	while (f != NULL && r == 0 && fgets(line, sizeof(line), f) != NULL) {
		save = NULL;
		name = strtok_r(line, ":\n", &save);
		first = strtok_r(NULL, ":\n", &save);
		count = strtok_r(NULL, ":\n", &save);
		if (name == NULL || first == NULL || count == NULL ||
		    num_parse(first, 0, UINT32_MAX, &at) < 0 ||
		    num_parse(count, 0, UINT32_MAX, &n) < 0 ||
		    !overlaps(u, (uint64_t)at, (uint64_t)n))
			continue;
		(void)snprintf(whose, sizeof(whose),
		    "those that %s gives to %.40s", path, name);
		r = refuse(u, e, whose);
	}
	if (f != NULL)
		(void)fclose(f);
	return r;
}

int
conf_host_uids(const struct uids *u, struct err *e)
{
	int r;

	if (overlaps(u, UID_NOBODY, 1) || overlaps(u, UID_16BIT, 1))
		return refuse(u, e, "nobody's (65534, 65535)");
	if (overlaps(u, UID_DYNAMIC, UID_DYNAMIC_END - UID_DYNAMIC))
		return refuse(u, e, "systemd's dynamic users (61184 to 65519)");
	if ((r = check_passwd(u, e)) < 0 ||
	    (r = check_sub(u, "/etc/subuid", e)) < 0)
		return r;
	return check_sub(u, "/etc/subgid", e);
}

/* Who can write to a folder can put anything in the place of what is in it;
 * a sticky one (/tmp) lets others add only. */
static int
check_folder(const char *path, bool last, struct err *e)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(e, -errno, "%s", path);
	if (S_ISLNK(st.st_mode) && !last)
		return 0; /* what it names is looked at by its own name */
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "%s: not a folder", path);
	if (st.st_uid != 0)
		return err_set(e, -EPERM,
		    "%s belongs to uid %u; it must be root's", path, st.st_uid);
	if ((st.st_mode & 022) != 0 && (last || (st.st_mode & S_ISVTX) == 0))
		return err_set(e, -EPERM,
		    "%s can be written by others than root (chmod go-w)", path);
	return 0;
}

int
conf_host_dir(const char *dir, struct err *e)
{
	char path[BOOT_PATH_MAX];
	char *slash;
	int r;

	if (snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path))
		return err_set(e, -ENAMETOOLONG, "%s: longer than %d bytes",
		    dir, BOOT_PATH_MAX - 1);
	r = check_folder(path, true, e);
	while (
	    r == 0 && (slash = strrchr(path, '/')) != NULL && slash != path) {
		*slash = '\0';
		r = check_folder(path, false, e);
	}
	return r;
}

int
conf_host_stage(const struct conf *c, struct err *e)
{
	struct stat st;

	if (stat(c->stage, &st) < 0)
		return err_errno(e, -errno,
		    "stage = %s: no VM starts without its tree (`make stage`)",
		    c->stage);
	if (!S_ISDIR(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) != 0)
		return err_set(e, -EPERM,
		    "stage = %s: must be a folder of root's that only root can "
		    "write",
		    c->stage);
	return 0;
}
