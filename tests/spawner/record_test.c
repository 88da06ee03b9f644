#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/num.h"
#include "common/util.h"
#include "spawner/record.h"
#include "tests/suite/t.h"

/*
 * Records that a build of before wrote, byte for byte.  Never edited: a
 * build that does not read them loses VMs that run.
 */
#define V2 "tests/golden/record_v2.hex"
#define V3 "tests/golden/record_v3.hex"
#define V1_LEN 168

static size_t
golden(const char *path, uint8_t *buf, size_t cap)
{
	char two[3] = "";
	size_t n = 0;
	FILE *f = fopen(path, "re");
	int c;

	if (f == NULL)
		return 0;
	while (n < cap && (c = fgetc(f)) != EOF) {
		if (c == '\n')
			continue;
		two[0] = (char)c;
		two[1] = (char)fgetc(f);
		buf[n++] = (uint8_t)strtoul(two, NULL, 16);
	}
	(void)fclose(f);
	return n;
}

/* What the golden records say. */
static void
check_vm(const struct record *rec, bool has_group)
{
	static const char boot[] = "c0ffee00-1111-2222-3333-444455556666";
	uint32_t i;

	t_eq(rec->version, RECORD_VERSION);
	t_eq(rec->len, sizeof(*rec));
	t_eq(rec->jail.kind, JAIL_VM);
	t_eq(rec->jail.id, 0x0123456789abcdef);
	t_eq(rec->start_time, 771);
	for (i = 0; i < NS_N; i++)
		t_eq(rec->ns[i], 4026531841 + i);
	t_eq(rec->pid, 4711);
	t_eq(rec->uid, 2046820355);
	t_eq(rec->slot, 3);
	t_eq(rec->cgroup, 1);
	t_eq(rec->kvm, 1);
	t_eq(rec->filters, 1);
	t_str(rec->boot_id, boot);
	t_str(rec->group,
	    has_group ? "/mews-vms.service/vm/0123456789abcdef" : "");
	t_eq(rec->cid, has_group ? 2046820355 : 0);
	t_eq(rec->nprogs, 3);
	for (i = 0; i < rec->nprogs; i++) {
		const struct record_prog *p = record_prog(rec, i);

		t_true(p == &rec->prog[i]);
		t_eq(p->uid, rec->uid);
		t_eq(p->filters_min, i + 1);
		t_eq(p->filters_max, i + 1);
		t_eq(p->flags, 0);
		t_eq(p->file.dev, 11 + 2 * i);
		t_eq(p->file.ino, 12 + 2 * i);
	}
	t_eq(rec->prog[i].role, 0); /* what is none of them says nothing */
	t_eq(rec->prog[i].uid, 0);
}

static void
test_old(void)
{
	uint8_t buf[RECORD_LEN_MAX];
	struct record rec;
	size_t len = golden(V2, buf, sizeof(buf));

	t_eq(len, 400);
	t_row("version 2");
	t_eq(record_parse(buf, len, &rec), 0);
	check_vm(&rec, true);
	t_row("version 1");
	buf[4] = 1;
	t_eq(record_parse(buf, V1_LEN, &rec), 0);
	check_vm(&rec, false);
}

static void
test_today(void)
{
	uint8_t buf[RECORD_LEN_MAX + 1] = { 0 };
	struct record rec, later;
	size_t len = golden(V3, buf, sizeof(buf));

	t_eq(len, sizeof(rec));
	t_eq(record_parse(buf, len, &rec), 0);
	check_vm(&rec, true);
	t_mem(&rec, sizeof(rec), buf, len);
	t_row("of a later build, with more at its end");
	buf[4] = 9;
	len += 64;
	memcpy(buf + 8, &(uint32_t){ (uint32_t)len }, 4);
	t_eq(record_parse(buf, len, &later), 0);
	t_eq(later.jail.id, rec.jail.id);
	t_row("of a later build, with flags and a role that are its own");
	later.prog[2].flags = 1U << 31 | PROG_USERNS;
	later.prog[1].role = 4711;
	memcpy(buf, &later, sizeof(later));
	t_eq(record_parse(buf, len, &rec), 0);
	t_eq(record_prog(&rec, JAIL_VMM)->flags & PROG_USERNS, PROG_USERNS);
	t_true(record_prog(&rec, JAIL_WARDEN) == NULL);
}

/* Cut at any byte, or longer than it says: no record, and nothing is set. */
static void
test_cut(void)
{
	static const char *const paths[] = { V2, V3 };
	size_t i, n, len;

	for (i = 0; i < nitems(paths); i++) {
		uint8_t buf[RECORD_LEN_MAX] = { 0 };
		struct record rec = { .pid = 99 };

		t_row(paths[i]);
		len = golden(paths[i], buf, sizeof(buf));
		for (n = 0; n < len; n++)
			t_eq(record_parse(buf, n, &rec), -EBADMSG);
		t_eq(record_parse(buf, len + 1, &rec), -EBADMSG);
		t_eq(rec.pid, 99);
	}
}

static void
test_spoilt(void)
{
	static const struct {
		const char *name;
		size_t off;
		uint32_t v;
	} rows[] = {
		{ "magic", 0, 1 },
		{ "version 0", offsetof(struct record, version), 0 },
		{ "length", offsetof(struct record, len), 100 },
		{ "no program", offsetof(struct record, nprogs), 0 },
		{ "too many", offsetof(struct record, nprogs), 17 },
		{ "no such kind", offsetof(struct record, jail.kind), 7 },
		{ "pid 1", offsetof(struct record, pid), 1 },
		{ "a role twice", offsetof(struct record, prog[1].role), 0 },
		{ "filters", offsetof(struct record, prog[0].filters_min),
		    0x00010002 },
		{ "pid 1 with another uid",
		    offsetof(struct record, prog[0].uid), 7 },
		{ "no keeper", offsetof(struct record, prog[0].role), 9 },
	};
	size_t i;

	for (i = 0; i < nitems(rows); i++) {
		uint8_t buf[RECORD_LEN_MAX];
		struct record rec;
		size_t len = golden(V3, buf, sizeof(buf));

		t_row(rows[i].name);
		memcpy(buf + rows[i].off, &rows[i].v, sizeof(rows[i].v));
		t_eq(record_parse(buf, len, &rec), -EBADMSG);
	}
	t_row("no end of a string");
	for (i = 0; i < 2; i++) {
		uint8_t buf[RECORD_LEN_MAX];
		struct record rec;
		size_t len = golden(V3, buf, sizeof(buf));

		if (i == 0)
			memset(buf + offsetof(struct record, boot_id), 'x',
			    sizeof(rec.boot_id));
		else
			memset(buf + offsetof(struct record, group), 'x',
			    sizeof(rec.group));
		t_eq(record_parse(buf, len, &rec), -EBADMSG);
	}
}

static void
load(struct record *ret)
{
	uint8_t buf[RECORD_LEN_MAX];
	size_t len = golden(V3, buf, sizeof(buf));

	t_eq(record_parse(buf, len, ret), 0);
}

/* What may just be. */
static void
test_bounds(void)
{
	struct record rec, got;
	uint32_t i;

	load(&rec);
	rec.pid = 2;
	memset(rec.boot_id, 'x', sizeof(rec.boot_id) - 1);
	memset(rec.group, 'x', sizeof(rec.group) - 1);
	t_row("one program");
	rec.nprogs = 1;
	t_eq(record_parse(&rec, sizeof(rec), &got), 0);
	t_mem(&got, sizeof(got), &rec, sizeof(rec));
	t_row("as many as can be");
	rec.nprogs = RECORD_PROGS_MAX;
	for (i = 1; i < rec.nprogs; i++)
		rec.prog[i].role = 100 + i;
	t_eq(record_parse(&rec, sizeof(rec), &got), 0);
	t_eq(got.nprogs, 16);
}

/* A row is found among those there are, and nowhere else. */
static void
test_rows(void)
{
	struct {
		struct record rec;
		struct record_prog behind; /* of a number that lies */
	} at;

	memset(&at, 0, sizeof(at));
	load(&at.rec);
	at.rec.prog[3].role = 77;
	t_true(record_prog(&at.rec, 77) == NULL);
	at.rec.nprogs = RECORD_PROGS_MAX;
	at.rec.prog[RECORD_PROGS_MAX - 1].role = 78;
	t_true(record_prog(&at.rec, 78) == &at.rec.prog[15]);
	at.rec.nprogs = RECORD_PROGS_MAX + 1;
	at.behind.role = 79;
	t_true(record_prog(&at.rec, 79) == NULL);
}

/* Beside what a spawner left that died as it wrote. */
static void
test_write(int sub, const struct record *rec)
{
	struct stat st;

	t_row("one that was half written");
	t_eq(close(openat(sub, "record.new", O_CREAT | O_WRONLY, 0666)), 0);
	t_eq(record_write(sub, rec), 0);
	t_eq(fstatat(sub, "record", &st, AT_SYMLINK_NOFOLLOW), 0);
	t_eq(st.st_mode, S_IFREG | 0600);
	t_eq(st.st_size, sizeof(*rec));
	t_eq(fstatat(sub, "record.new", &st, 0), -1);
	t_eq(unlinkat(sub, "record", 0), 0);
	t_row("no place for it");
	t_eq(mkdirat(sub, "record", 0700), 0);
	t_eq(record_write(sub, rec), -EISDIR);
	t_eq(unlinkat(sub, "record", AT_REMOVEDIR), 0);
	t_eq(unlinkat(sub, "record.new", 0), 0);
}

/* Files of any length, below a name of any. */
static void
test_read(int at, int sub)
{
	static uint8_t buf[RECORD_LEN_MAX + 1];
	static const struct {
		size_t len;
		int r;
	} rows[] = { { 0, -EBADMSG }, { 1, -EBADMSG }, { RECORD_LEN_MAX, 0 },
		{ RECORD_LEN_MAX + 1, -EBADMSG } };
	char name[256];
	struct record got;
	size_t i;
	int fd;

	(void)golden(V3, buf, sizeof(buf));
	buf[4] = 9; /* a later version may be longer */
	for (i = 0; i < nitems(rows); i++) {
		const uint32_t len = (uint32_t)rows[i].len;

		t_row("a length");
		memcpy(buf + offsetof(struct record, len), &len, sizeof(len));
		fd = openat(sub, "record",
		    O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
		t_eq(write(fd, buf, rows[i].len), rows[i].len);
		(void)close(fd);
		t_eq(record_read(at, "vm", &got), rows[i].r);
	}
	t_row("the longest name");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	t_eq(renameat(at, "vm", at, name), 0);
	t_eq(record_read(at, name, &got), -EBADMSG);
	t_eq(renameat(at, name, at, "vm"), 0);
}

/* Any descriptor will do, and none is left open. */
static void
test_numbers(int at, int sub, const struct record *rec)
{
	const int keep = dup(0);
	struct record got;
	int i, next;

	next = dup(0);
	(void)close(next);
	for (i = 0; i < 2; i++) {
		t_eq(record_write(sub, rec), 0);
		t_eq(record_read(at, "vm", &got), 0);
		if (i == 0) {
			t_eq(dup(keep), next);
			(void)close(next);
			(void)close(0);
		}
	}
	t_eq(dup(keep), 0);
	(void)close(keep);
}

/* What is written is what is read, and is not anybody else's file. */
static void
test_file(void)
{
	char dir[] = "/tmp/record_test.XXXXXX", path[64];
	uint8_t buf[RECORD_LEN_MAX];
	struct record rec, got;
	int at, sub;

	if (getuid() != 0) {
		t_skip("needs root: only root's records are believed");
		return;
	}
	t_eq(record_parse(buf, golden(V3, buf, sizeof(buf)), &rec), 0);
	if (mkdtemp(dir) == NULL) {
		t_eq(errno, 0);
		return;
	}
	at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t_eq(mkdirat(at, "vm", 0711), 0);
	sub = openat(at, "vm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t_eq(record_read(at, "vm", &got), -ENOENT);
	t_eq(record_write(sub, &rec), 0);
	t_eq(record_read(at, "vm", &got), 0);
	t_mem(&got, sizeof(got), &rec, sizeof(rec));
	t_row("others may read");
	t_eq(fchmodat(sub, "record", 0645, 0), 0);
	t_eq(record_read(at, "vm", &got), 0);
	t_row("others may write");
	t_eq(fchmodat(sub, "record", 0620, 0), 0);
	t_eq(record_read(at, "vm", &got), -EBADMSG);
	t_row("not root's");
	t_eq(fchmodat(sub, "record", 0600, 0), 0);
	t_eq(fchownat(sub, "record", 1, 1, 0), 0);
	t_eq(record_read(at, "vm", &got), -EBADMSG);
	t_row("a link");
	t_eq(unlinkat(sub, "record", 0), 0);
	t_eq(symlinkat("/etc/passwd", sub, "record"), 0);
	t_eq(record_read(at, "vm", &got), -ELOOP);
	(void)unlinkat(sub, "record", 0);
	test_write(sub, &rec);
	test_read(at, sub);
	test_numbers(at, sub, &rec);
	(void)unlinkat(sub, "record", 0);
	(void)close(sub);
	(void)unlinkat(at, "vm", AT_REMOVEDIR);
	(void)close(at);
	(void)snprintf(path, sizeof(path), "%s", dir);
	(void)rmdir(path);
}

const struct t_case t_cases[] = { { "record-old", test_old },
	{ "record-today", test_today }, { "record-cut", test_cut },
	{ "record-spoilt", test_spoilt }, { "record-bounds", test_bounds },
	{ "record-rows", test_rows }, { "record-file", test_file },
	{ NULL, NULL } };
