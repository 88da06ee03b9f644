#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/file.h"
#include "agent/limits.h"
#include "common/err.h"
#include "common/num.h"

#define KIB 1024LL
#define MIB (1024 * KIB)

/* Below this a shell and what it starts end each other. */
#define WORK_MIN (6 * MIB)
#define OWN_MIN (5 * MIB)
#define RESERVE_MIN (3 * MIB)
#define PIDS_MIN 32
#define PIDS_MAX 4096
#define FILES_MIN 1024 /* what programs take for granted */
#define FILES_MAX (1024 * KIB) /* fs.nr_open */
#define PTYS_MIN 64
#define PTYS_MAX 4096

static long long
within(long long v, long long min, long long max)
{
	if (v < min)
		return min;
	return v > max ? max : v;
}

int
limits_of(long long left, long long threads, struct limits *ret, struct err *e)
{
	/* for the agent, and what the kernel charges nobody for */
	long long own = within(left / 8, OWN_MIN, 256 * MIB);
	struct limits l = {
		.own = own,
		.reserve = within(left / 16, RESERVE_MIN, 64 * MIB),
	};

	l.mem = left - own - l.reserve;
	if (l.mem < WORK_MIN)
		return err_set(e, -ENOMEM,
		    "this guest has too little memory: %lld KiB are left of "
		    "it, %lld are needed",
		    left / KIB, (WORK_MIN + OWN_MIN + RESERVE_MIN) / KIB);
	l.fs = l.mem / 2;
	l.fs_nodes = l.fs / (4 * KIB); /* 1.2 KiB each */
	l.shm = l.mem / 16 / (4 * KIB);
	/* a fork bomb meets this first: its processes take some 130 KiB
	 * each, most of it charged to them */
	l.pids = within(l.mem / (192 * KIB), PIDS_MIN, PIDS_MAX);
	l.pids = within(l.pids, 1, threads / 2);
	l.reserve_pids = 32;
	/* 264 bytes each: one process cannot take more than an eighth */
	l.files = within(l.mem / (2 * KIB), FILES_MIN, FILES_MAX);
	/* up to 150 KiB each, charged to nobody */
	l.ptys = within(l.mem / (256 * KIB), PTYS_MIN, PTYS_MAX);
	*ret = l;
	return 0;
}

/* A number that follows word in a file.  0 or -errno. */
static int
number_in(const char *path, const char *word, long long *ret)
{
	char text[4096], *p;
	int r;

	if ((r = file_read(path, text, sizeof(text))) < 0)
		return r;
	if ((p = strstr(text, word)) == NULL)
		return -ENOENT;
	p += strlen(word);
	p += strspn(p, " \t");
	p[strcspn(p, " \n")] = '\0';
	return num_parse(p, 0, INT64_MAX / KIB, ret);
}

int
limits_find(struct limits *ret, struct err *e)
{
	long long kib, threads;
	int r;

	if ((r = number_in("/proc/meminfo", "MemAvailable:", &kib)) < 0 ||
	    (r = number_in("/proc/sys/kernel/threads-max", "", &threads)) < 0)
		return err_errno(e, r, "this guest's size");
	return limits_of(kib * KIB, threads, ret, e);
}

void
limits_ipc(const struct limits *l)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%lld", l->shm);
	(void)file_write("/proc/sys/kernel/shmall", text);
	(void)file_write("/proc/sys/kernel/msgmni", "64"); /* 16 KiB each */
	/* per set, in all, at once, sets */
	(void)file_write("/proc/sys/kernel/sem", "250 16000 32 128");
}
