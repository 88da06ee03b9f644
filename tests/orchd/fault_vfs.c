#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/util.h"
#include "tests/orchd/fault_vfs.h"

#define DISKS_MAX 8
#define SECTOR 512
#define PATH_MAX_ 256

/* What the disk has of a file. */
struct disk {
	char path[PATH_MAX_];
	bool exists; /* its name is on the disk */
	bool removed; /* but not any more, once its folder is synced */
	uint8_t *p;
	size_t len;
};

struct fault_file {
	sqlite3_file base;
	struct disk *disk; /* NULL: not followed */
	sqlite3_file *real; /* behind this struct */
};

static struct {
	pthread_mutex_t lock;
	struct disk disks[DISKS_MAX];
	enum fault how;
	unsigned int nth, calls, delay_ms, syncing, synced;
	bool dead;
} st = { .lock = PTHREAD_MUTEX_INITIALIZER };

static sqlite3_vfs *real_vfs;

/* --- what is to happen --- */

/* A call that changes something begins: SQLITE_OK, or its fault. */
static int
hit(int error)
{
	int rc = SQLITE_OK;

	(void)pthread_mutex_lock(&st.lock);
	st.calls++;
	if (st.dead)
		rc = error;
	else if (st.how != FAULT_NONE && st.calls == st.nth) {
		rc = st.how == FAULT_FULL ? SQLITE_FULL : error;
		st.dead = st.how == FAULT_POWER;
	}
	(void)pthread_mutex_unlock(&st.lock);
	return rc;
}

static bool
is_dead(void)
{
	bool dead;

	(void)pthread_mutex_lock(&st.lock);
	dead = st.dead;
	(void)pthread_mutex_unlock(&st.lock);
	return dead;
}

void
fault_set(enum fault how, unsigned int nth)
{
	(void)pthread_mutex_lock(&st.lock);
	st.how = how;
	st.nth = nth;
	st.calls = 0;
	st.dead = false;
	(void)pthread_mutex_unlock(&st.lock);
}

static unsigned int
get(const unsigned int *v)
{
	unsigned int n;

	(void)pthread_mutex_lock(&st.lock);
	n = *v;
	(void)pthread_mutex_unlock(&st.lock);
	return n;
}

unsigned int
fault_calls(void)
{
	return get(&st.calls);
}

unsigned int
fault_syncing(void)
{
	return get(&st.syncing);
}

unsigned int
fault_synced(void)
{
	return get(&st.synced);
}

void
fault_delay(unsigned int ms)
{
	st.delay_ms = ms;
}

/* --- what the disk has --- */

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "fault_vfs: %s\n", what);
	abort();
}

static void
disk_set(struct disk *d, const uint8_t *p, size_t len)
{
	uint8_t *copy = malloc(len + 1);

	must(copy != NULL, "out of memory");
	if (len > 0)
		memcpy(copy, p, len);
	free(d->p);
	d->p = copy;
	d->len = len;
}

/* A whole file that nobody has open.  Its size, or -1. */
static ssize_t
slurp(const char *path, uint8_t **ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t len;

	if (fd < 0)
		return -1;
	len = lseek(fd, 0, SEEK_END);
	*ret = malloc((size_t)len + 1);
	must(*ret != NULL && pread(fd, *ret, (size_t)len, 0) == len, path);
	(void)close(fd);
	return len;
}

static void
spill(const char *path, const uint8_t *p, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd >= 0 && write(fd, p, len) == (ssize_t)len, path);
	(void)close(fd);
}

/* Of a file that is opened; what is there before we look is on the disk. */
static struct disk *
disk_of(const char *path)
{
	uint8_t *p = NULL;
	ssize_t len;
	size_t i;

	for (i = 0; i < nitems(st.disks) && st.disks[i].path[0] != '\0'; i++) {
		if (strcmp(st.disks[i].path, path) == 0)
			return &st.disks[i];
	}
	must(i < nitems(st.disks), "too many files");
	(void)snprintf(st.disks[i].path, PATH_MAX_, "%s", path);
	if ((len = slurp(path, &p)) >= 0) {
		st.disks[i].exists = true;
		disk_set(&st.disks[i], p, (size_t)len);
	}
	free(p);
	return &st.disks[i];
}

/* Some of what was written since it was synced came through. */
static void
mix(struct disk *d, unsigned int *seed)
{
	uint8_t *now = NULL, *p;
	ssize_t len = slurp(d->path, &now);
	size_t at, n, most;

	if (len < 0 || (size_t)len < d->len) {
		free(now); /* cut: as it was */
		return;
	}
	most = (size_t)len;
	p = calloc(1, most + 1);
	must(p != NULL, "out of memory");
	if (d->len > 0)
		memcpy(p, d->p, d->len);
	for (at = 0; at < most; at += SECTOR) {
		n = most - at < SECTOR ? most - at : SECTOR;
		if (rand_r(seed) % 4 != 0)
			memcpy(p + at, now + at, n);
	}
	if (rand_r(seed) % 4 == 0 && d->len < most)
		most = d->len + (size_t)rand_r(seed) % (most - d->len);
	disk_set(d, p, most);
	free(p);
	free(now);
}

void
fault_power_back(unsigned int seed)
{
	char shm[PATH_MAX_ + 8];
	struct disk *d;

	for (d = st.disks; d < st.disks + nitems(st.disks); d++) {
		if (d->path[0] == '\0')
			continue;
		if (seed != 0 && d->exists)
			mix(d, &seed);
		(void)snprintf(
		    shm, sizeof(shm), "%.*s-shm", PATH_MAX_ - 1, d->path);
		(void)unlink(shm);
		if (d->exists)
			spill(d->path, d->p, d->len);
		else
			(void)unlink(d->path);
	}
	fault_set(FAULT_NONE, 0);
}

void
fault_forget(void)
{
	size_t i;

	for (i = 0; i < nitems(st.disks); i++)
		free(st.disks[i].p);
	memset(st.disks, 0, sizeof(st.disks));
	fault_set(FAULT_NONE, 0);
}

/* --- a file --- */

static sqlite3_file *
real_of(sqlite3_file *f)
{
	return ((struct fault_file *)(void *)f)->real;
}

static int
on_close(sqlite3_file *f)
{
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int
on_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	if (is_dead())
		return SQLITE_IOERR_READ;
	return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static int
on_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	int rc = hit(SQLITE_IOERR_WRITE);

	if (rc != SQLITE_OK) { /* half of it was done */
		(void)real_of(f)->pMethods->xWrite(real_of(f), p, n / 2, at);
		return rc;
	}
	return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}

static int
on_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = hit(SQLITE_IOERR_TRUNCATE);

	return rc != SQLITE_OK
	    ? rc
	    : real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static void
folder_synced(void)
{
	size_t i;

	for (i = 0; i < nitems(st.disks); i++) {
		if (st.disks[i].removed)
			st.disks[i].exists = st.disks[i].removed = false;
	}
}

/* From here on the disk has it all. */
static void
synced(struct fault_file *f)
{
	sqlite3_int64 len = 0;
	uint8_t *p;

	must(f->real->pMethods->xFileSize(f->real, &len) == SQLITE_OK, "size");
	p = malloc((size_t)len + 1);
	must(p != NULL, "out of memory");
	if (len > 0)
		must(f->real->pMethods->xRead(f->real, p, (int)len, 0) ==
			SQLITE_OK,
		    "read");
	(void)pthread_mutex_lock(&st.lock);
	disk_set(f->disk, p, (size_t)len);
	if (!f->disk->exists) /* a new name is synced with its folder */
		folder_synced();
	f->disk->exists = true;
	f->disk->removed = false;
	(void)pthread_mutex_unlock(&st.lock);
	free(p);
}

static void
count(unsigned int *v, int by)
{
	(void)pthread_mutex_lock(&st.lock);
	*v += (unsigned int)by;
	(void)pthread_mutex_unlock(&st.lock);
}

static int
on_sync(sqlite3_file *file, int flags)
{
	struct fault_file *f = (struct fault_file *)(void *)file;
	const struct timespec ts = { .tv_sec = st.delay_ms / 1000,
		.tv_nsec = (long)(st.delay_ms % 1000) * 1000000 };
	int rc;

	(void)flags;
	count(&st.syncing, 1);
	if (st.delay_ms != 0)
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
	rc = hit(SQLITE_IOERR_FSYNC);
	if (rc == SQLITE_OK && f->disk != NULL)
		synced(f);
	count(&st.syncing, -1);
	count(&st.synced, rc == SQLITE_OK);
	return rc;
}

static int
on_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int
on_lock(sqlite3_file *f, int how)
{
	return real_of(f)->pMethods->xLock(real_of(f), how);
}

static int
on_unlock(sqlite3_file *f, int how)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), how);
}

static int
on_check(sqlite3_file *f, int *ret)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}

static int
on_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int
on_sector(sqlite3_file *f)
{
	(void)f;
	return SECTOR;
}

/* Nothing is promised: no sector is written whole, nothing in order. */
static int
on_traits(sqlite3_file *f)
{
	(void)f;
	return 0;
}

static int
on_shm_map(sqlite3_file *f, int i, int n, int how, void volatile **ret)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), i, n, how, ret);
}

static int
on_shm_lock(sqlite3_file *f, int at, int n, int how)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), at, n, how);
}

static void
on_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int
on_shm_unmap(sqlite3_file *f, int del)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), del);
}

static const sqlite3_io_methods methods = { 2, on_close, on_read, on_write,
	on_truncate, on_sync, on_size, on_lock, on_unlock, on_check, on_control,
	on_sector, on_traits, on_shm_map, on_shm_lock, on_shm_barrier,
	on_shm_unmap, NULL, NULL };

/* --- names --- */

static int
on_open(
    sqlite3_vfs *v, const char *path, sqlite3_file *file, int flags, int *out)
{
	struct fault_file *f = (struct fault_file *)(void *)file;
	int rc = is_dead() ? SQLITE_CANTOPEN : SQLITE_OK;

	(void)v;
	memset(f, 0, sizeof(*f));
	f->real = (sqlite3_file *)(void *)(f + 1);
	if (path != NULL && (flags & SQLITE_OPEN_DELETEONCLOSE) == 0) {
		(void)pthread_mutex_lock(&st.lock);
		f->disk = disk_of(path);
		(void)pthread_mutex_unlock(&st.lock);
	}
	if (rc == SQLITE_OK && (flags & SQLITE_OPEN_CREATE) != 0 &&
	    f->disk != NULL && !f->disk->exists)
		rc = hit(SQLITE_CANTOPEN);
	if (rc == SQLITE_OK)
		rc = real_vfs->xOpen(real_vfs, path, f->real, flags, out);
	if (rc == SQLITE_OK)
		f->base.pMethods = &methods;
	return rc;
}

static int
on_delete(sqlite3_vfs *v, const char *path, int sync)
{
	int rc = hit(SQLITE_IOERR_DELETE);

	(void)v;
	if (rc != SQLITE_OK ||
	    (rc = real_vfs->xDelete(real_vfs, path, 0)) != SQLITE_OK)
		return rc;
	(void)pthread_mutex_lock(&st.lock);
	disk_of(path)->removed = true;
	if (sync)
		folder_synced();
	(void)pthread_mutex_unlock(&st.lock);
	return SQLITE_OK;
}

void
fault_init(void)
{
	static sqlite3_vfs vfs;

	if (real_vfs != NULL)
		return;
	real_vfs = sqlite3_vfs_find(NULL);
	must(real_vfs != NULL, "no file system");
	vfs = *real_vfs;
	vfs.pNext = NULL;
	vfs.zName = "fault";
	vfs.szOsFile = (int)sizeof(struct fault_file) + real_vfs->szOsFile;
	vfs.xOpen = on_open;
	vfs.xDelete = on_delete;
	must(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK, "register");
}
