#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/user.h"
#include "common/err.h"
#include "tests/suite/t.h"

static const char passwd[] = "# a comment\n"
			     "root:x:0:0:root:/root:/bin/sh\n"
			     "bird:x:1000:1000:A Bird:/home/bird:/bin/sh\n"
			     "short:x:5\n"
			     "odd:x:07x:1:::\n"
			     "far:x:4294967295:1::/:\n"
			     "1000:x:77:78::/num:\n"
			     "homeless:x:9:9::nest:\n"
			     "bird:x:1:1::/second:\n"
			     "last:x:11:12::/last";
static const char group[] = "root:x:0:\n"
			    "bird:x:1000:bird\n"
			    "seed:x:2000:a,bird,b\n"
			    "birds:x:2001:abird,birdb\n"
			    "bad:x:y:bird\n"
			    "2000:x:3000:\n"
			    "end:x:2002:bird";

static char dir[32];
static int root = -1;

static void
put(const char *path, const char *text, size_t len)
{
	int fd =
	    openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	t_true(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	(void)close(fd);
}

static void
world(void)
{
	if (root < 0) {
		(void)snprintf(dir, sizeof(dir), "/tmp/user_test.XXXXXX");
		t_true(mkdtemp(dir) != NULL);
		root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		t_eq(mkdirat(root, "etc", 0755), 0);
	}
	(void)unlinkat(root, "etc/passwd", 0);
	(void)unlinkat(root, "etc/group", 0);
	put("etc/passwd", passwd, sizeof(passwd) - 1);
	put("etc/group", group, sizeof(group) - 1);
}

static void
world_end(void)
{
	(void)unlinkat(root, "etc/passwd", 0);
	(void)unlinkat(root, "etc/group", 0);
	(void)unlinkat(root, "etc", AT_REMOVEDIR);
	(void)unlinkat(root, "other", 0);
	(void)rmdir(dir);
	(void)close(root);
	root = -1;
}

static const struct {
	const char *text, *home, *groups;
	long long uid, gid;
} rows[] = {
	{ "root", "/root", "", 0, 0 },
	{ "0", "/root", "", 0, 0 },
	{ "bird", "/home/bird", " 2000 2002", 1000, 1000 },
	{ "bird:seed", "/home/bird", "", 1000, 2000 },
	/* a name of digits is a name first */
	{ "1000", "/num", "", 77, 78 },
	{ "bird:2000", "/home/bird", "", 1000, 3000 },
	{ "bird:2001", "/home/bird", "", 1000, 2001 },
	{ "11", "/last", "", 11, 12 },
	{ "last", "/last", "", 11, 12 },
	{ "homeless", "/", "", 9, 9 },
	{ "4000", "/", "", 4000, 4000 },
	{ "4000:seed", "/", "", 4000, 2000 },
	{ "4294967294:4294967294", "/", "", 4294967294, 4294967294 },
};

static void
found(void)
{
	size_t i, k;

	world();
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char groups[256] = "";
		struct err e = { 0 };
		struct user u;

		t_row(rows[i].text);
		t_eq(user_find(root, rows[i].text, &u, &e), 0);
		t_eq(u.uid, rows[i].uid);
		t_eq(u.gid, rows[i].gid);
		t_str(u.home, rows[i].home);
		for (k = 0; k < u.ngroups; k++)
			(void)snprintf(groups + strlen(groups),
			    sizeof(groups) - strlen(groups), " %u",
			    u.groups[k]);
		t_str(groups, rows[i].groups);
	}
	world_end();
}

static void
refused(const char *text, int code, const char *word)
{
	struct err e = { 0 };
	struct user u;

	t_row(text);
	t_eq(user_find(root, text, &u, &e), code);
	t_eq(e.code, code);
	if (strstr(e.msg, word) == NULL)
		t_str(e.msg, word);
}

static void
not_there(void)
{
	static const char user[] = "there is no user ";
	static const char grp[] = "there is no group ";

	world();
	refused("nosuch", -ENOENT, "no user nosuch in the guest's /etc/passwd");
	refused("short", -ENOENT, user);
	refused("odd", -ENOENT, user);
	refused("far", -ENOENT, user);
	refused("4294967295", -ENOENT, user);
	refused("-1", -ENOENT, user);
	refused("bird:nosuch", -ENOENT,
	    "no group nosuch in the guest's /etc/group");
	refused("bird:bad", -ENOENT, grp);
	refused("bird:4294967295", -ENOENT, grp);
	world_end();
}

/* More groups than are taken are no failure, and no more than there is room. */
static void
many_groups(void)
{
	struct err e = { 0 };
	char text[8192];
	struct user u;
	size_t n = 0;
	int i;

	world();
	for (i = 0; i < USER_GROUPS_MAX + 9; i++)
		n += (size_t)snprintf(
		    text + n, sizeof(text) - n, "g%d:x:%d:bird\n", i, 3000 + i);
	put("etc/group", text, n);
	t_eq(user_find(root, "bird", &u, &e), 0);
	t_eq(u.ngroups, USER_GROUPS_MAX);
	t_eq(u.groups[USER_GROUPS_MAX - 1], 3000 + USER_GROUPS_MAX - 1);
	t_str(u.home, "/home/bird");
	world_end();
}

static void
spoilt_long(size_t len)
{
	char *text = malloc(len);

	t_true(text != NULL);
	if (text == NULL)
		return;
	memset(text, '\n', len);
	put("etc/passwd", text, len);
	free(text);
}

/* Those files are a stranger's. */
static void
spoilt(void)
{
	static const char nul[] = "bi\0rd:x:5:5::/:\nbird:x:6:6::/:\n";

	world();
	t_eq(unlinkat(root, "etc/passwd", 0), 0);
	refused("bird", -ENOENT, "no user bird");
	t_eq(mkfifoat(root, "etc/passwd", 0644), 0);
	refused("bird", -EPROTO, "the guest's /etc/passwd is no regular file");
	t_eq(unlinkat(root, "etc/passwd", 0), 0);
	t_eq(mkdirat(root, "etc/passwd", 0755), 0);
	refused("bird", -EPROTO, "is no regular file");
	t_eq(unlinkat(root, "etc/passwd", AT_REMOVEDIR), 0);
	/* out of its root, by a link or by the kernel's */
	t_eq(symlinkat("/proc/self/status", root, "etc/passwd"), 0);
	refused("bird", -ENOENT, "no user bird");
	t_eq(unlinkat(root, "etc/passwd", 0), 0);
	t_eq(symlinkat("../../../../../../../etc/passwd", root, "etc/passwd"),
	    0);
	refused("root", -EPROTO, "the guest's /etc/passwd: ");
	t_eq(unlinkat(root, "etc/passwd", 0), 0);
	/* within it a link is fine */
	t_eq(symlinkat("/other", root, "etc/passwd"), 0);
	put("other", "bird:x:3:4::/:", 14);
	refused("nosuch", -ENOENT, "no user nosuch");
	t_eq(unlinkat(root, "etc/passwd", 0), 0);
	spoilt_long(262144);
	refused("bird", -ENOENT, "no user bird");
	spoilt_long(262145);
	refused("bird", -EPROTO, "is longer than 262144 bytes");
	put("etc/passwd", nul, sizeof(nul) - 1);
	refused("bird", -ENOENT, "no user bird");
	put("etc/passwd", passwd, sizeof(passwd) - 1);
	t_eq(unlinkat(root, "etc/group", 0), 0);
	refused("bird:seed", -ENOENT, "no group seed");
	t_eq(mkfifoat(root, "etc/group", 0644), 0);
	refused("bird:seed", -EPROTO, "the guest's /etc/group is no");
	refused("bird", -EPROTO, "the guest's /etc/group is no");
	world_end();
}

static void
out_of_memory(void)
{
	world();
	t_fail_alloc(1);
	refused("bird", -ENOMEM, "out of memory");
	t_fail_alloc(2);
	refused("bird:seed", -ENOMEM, "out of memory");
	t_fail_alloc(0);
	world_end();
}

const struct t_case t_cases[] = { { "found", found },
	{ "not there", not_there }, { "many groups", many_groups },
	{ "spoilt", spoilt }, { "out of memory", out_of_memory },
	{ NULL, NULL } };
