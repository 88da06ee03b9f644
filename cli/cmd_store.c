#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/opt.h"
#include "cli/out.h"
#include "cli/vm.h"
#include "common/fds.h"
#include "common/util.h"
#include "proto/jbuf.h"

#define BACKUP "/api/v1/store/backup"

/* The head of a file of SQLite (sqlite.org/fileformat2.html). */
#define HEAD_LEN 100
#define HEAD_MAGIC "SQLite format 3" /* with its NUL */
#define HEAD_PAGE_SIZE 16 /* u16; 1 is 65536 */
#define HEAD_PAGES 28 /* u32 */
#define HEAD_VERSION 60 /* u32: of the store */

struct backup {
	const char *path;
	char part[PATH_MAX]; /* until it is whole */
	int fd;
	bool is_made; /* part is ours */
	uint64_t bytes;
	uint32_t version;
};

/* --- the file --- */

static int
fault(struct backup *b, int code, const char *what, struct err *e)
{
	char text[128];

	cli_errno_text(code, text, sizeof(text));
	return err_set(e, code, "%s: %s: %s", b->path, what, text);
}

static int
file_open(struct backup *b, bool force, struct err *e)
{
	if (snprintf(b->part, sizeof(b->part), "%s.part", b->path) >=
	    (int)sizeof(b->part))
		return err_set(e, -ENAMETOOLONG, "the name is too long");
	if (!force &&
	    faccessat(AT_FDCWD, b->path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(e, -EEXIST,
		    "%s is there already: --force overwrites it", b->path);
	b->fd = open(b->part,
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (b->fd < 0 && errno == EEXIST)
		return err_set(e, -EEXIST,
		    "%s is there already: another backup is under way, or was "
		    "cut off: remove it then",
		    b->part);
	if (b->fd < 0)
		return fault(b, -errno, "cannot be made", e);
	b->is_made = true;
	return 0;
}

static int
on_bytes(void *arg, const char *p, size_t len)
{
	struct backup *b = arg;
	ssize_t n;

	b->bytes += len;
	for (; len > 0; p += n, len -= (size_t)n) {
		n = write(b->fd, p, len);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n < 0)
			return -errno;
	}
	return 0;
}

static uint32_t
number(const uint8_t *p, size_t n)
{
	uint32_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

/* It is a store, and all of it is there. */
static int
check(struct backup *b, struct err *e)
{
	uint8_t head[HEAD_LEN] = { 0 };
	uint64_t page;
	int fd = open(b->part, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);

	fd_close(&fd);
	if (n != HEAD_LEN || memcmp(head, HEAD_MAGIC, sizeof(HEAD_MAGIC)) != 0)
		return err_set(e, -EBADMSG, "what came is no store");
	page = number(head + HEAD_PAGE_SIZE, 2);
	page = page == 1 ? 65536 : page;
	if (page * number(head + HEAD_PAGES, 4) != b->bytes)
		return err_set(e, -EBADMSG,
		    "what came is not whole: %" PRIu64 " bytes of %" PRIu64,
		    b->bytes, page * number(head + HEAD_PAGES, 4));
	b->version = number(head + HEAD_VERSION, 4);
	return 0;
}

/* On the disk, under its name. */
static int
keep(struct backup *b, bool force, struct err *e)
{
	char dir[PATH_MAX];
	int fd, r;

	if (fsync(b->fd) < 0 || close(b->fd) < 0) {
		b->fd = -1;
		return fault(b, -errno, "cannot be written", e);
	}
	b->fd = -1;
	r = force ? rename(b->part, b->path) : link(b->part, b->path);
	if (!force && r < 0 && (errno == EPERM || errno == EOPNOTSUPP)) {
		force = true; /* a file system that knows no links */
		r = rename(b->part, b->path);
	}
	if (r < 0 && errno == EEXIST)
		return err_set(e, -EEXIST,
		    "%s was made meanwhile: --force overwrites it", b->path);
	if (r < 0)
		return fault(b, -errno, "cannot be given its name", e);
	b->is_made = !force;
	(void)snprintf(dir, sizeof(dir), "%s", b->path);
	fd = open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		r = fault(b, -errno, "its folder cannot be written", e);
	fd_close(&fd);
	return r;
}

/* --- the command --- */

static int
fetch(struct cli *c, struct backup *b, struct err *e)
{
	struct api_request rq = {
		.method = "GET", .target = BACKUP, .sink = on_bytes, .arg = b
	};
	struct api_reply rp = { 0 };
	int r = api_call(c->api, &rq, &rp, e);

	if (r == 0 && rp.status != 200)
		r = vm_refusal(c, rp.status, rp.body.p, rp.body.len, NULL, e);
	else if (r < 0 && r != -EINTR && e->msg[0] == '\0')
		r = fault(b, r, "cannot be written", e);
	api_reply_free(&rp);
	return r;
}

static void
say(const struct cli *c, const struct backup *b)
{
	char line[PATH_MAX + 128];
	struct jbuf j;

	if (!c->json) {
		(void)snprintf(line, sizeof(line),
		    "%s: %" PRIu64 " bytes, store version %" PRIu32, b->path,
		    b->bytes, b->version);
		out_line(stdout, line);
		return;
	}
	jbuf_init(&j, sizeof(line));
	jbuf_text(&j, "{\"file\":");
	jbuf_str(&j, b->path, strlen(b->path));
	jbuf_text(&j, ",\"bytes\":");
	jbuf_int(&j, (long long)b->bytes);
	jbuf_text(&j, ",\"version\":");
	jbuf_int(&j, (long long)b->version);
	jbuf_text(&j, "}");
	if (j.r == 0)
		out_json_line(stdout, j.p, j.len);
	jbuf_free(&j);
}

static int
backup(struct cli *c, const char *path, bool force)
{
	struct backup b = { .path = path, .fd = -1 };
	struct err e = { 0 };
	int r = file_open(&b, force, &e);

	if (r == 0)
		r = fetch(c, &b, &e);
	if (r == 0)
		r = check(&b, &e);
	if (r == 0)
		r = keep(&b, force, &e);
	fd_close(&b.fd);
	if (b.is_made)
		(void)unlink(b.part);
	if (r < 0)
		return cli_fail(c, r, &e);
	say(c, &b);
	return 0;
}

int
cmd_store(struct cli *c, int argc, char *argv[])
{
	static const struct option longs[] = {
		{ "force", no_argument, NULL, 'f' },
		OPT_COMMON,
		OPT_LAST,
	};
	bool force = false;
	int o;

	while ((o = opt_next(c, argc, argv, ":f", longs)) != OPT_END) {
		if (o != 'f')
			return o == OPT_HELP ? 0 : EXIT_OURS;
		force = opt_flag();
	}
	if (argc - optind < 1 || strcmp(argv[optind], "backup") != 0)
		return cli_usage(c, "store: it is backup");
	if (argc - optind != 2)
		return cli_usage(c, "store backup: into which file?");
	return backup(c, argv[optind + 1], force);
}
