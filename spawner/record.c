#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/util.h"
#include "spawner/record.h"

/* As the builds before wrote it: one jail a VM, three programs, one uid.
 * Frozen. */
#define V1_LEN 168
struct record_v2 {
	uint32_t magic;
	uint32_t version;
	uint64_t vm;
	uint64_t start_time;
	uint64_t ns[NS_N];
	uint32_t pid;
	uint32_t uid;
	uint16_t slot;
	uint8_t cgroup;
	uint8_t kvm;
	uint32_t filters;
	struct file_id prog[3]; /* keeper, warden, hypervisor */
	char boot_id[BOOT_ID_LEN];
	char group[CGROUP_PATH_MAX]; /* from here on not in version 1 */
	uint32_t cid;
	uint32_t pad;
};
_Static_assert(sizeof(struct record_v2) == 400, "on disk");
_Static_assert(offsetof(struct record_v2, group) == V1_LEN, "on disk");

static void
from_v2(const struct record_v2 *old, struct record *ret)
{
	uint32_t role;

	*ret = (struct record){ .magic = RECORD_MAGIC,
		.version = RECORD_VERSION,
		.len = sizeof(*ret),
		.nprogs = nitems(old->prog),
		.jail = { .kind = JAIL_VM, .id = old->vm },
		.start_time = old->start_time,
		.pid = old->pid,
		.uid = old->uid,
		.slot = old->slot,
		.cgroup = old->cgroup,
		.kvm = old->kvm,
		.filters = old->filters,
		.cid = old->cid };
	memcpy(ret->ns, old->ns, sizeof(ret->ns));
	memcpy(ret->boot_id, old->boot_id, sizeof(ret->boot_id));
	memcpy(ret->group, old->group, sizeof(ret->group));
	for (role = 0; role < nitems(old->prog); role++) {
		const uint16_t filters = (uint16_t)(role + 1); /* one more */

		ret->prog[role] = (struct record_prog){ .role = role,
			.uid = old->uid,
			.filters_min = filters,
			.filters_max = filters,
			.file = old->prog[role] };
	}
}

static int
check(const struct record *rec)
{
	const struct jail_kind_row *kind = jail_kind(rec->jail.kind);
	uint32_t i;

	if (rec->magic != RECORD_MAGIC || jail_id_check(&rec->jail) < 0 ||
	    rec->pid <= 1 || rec->nprogs < 1 ||
	    rec->nprogs > RECORD_PROGS_MAX ||
	    rec->boot_id[BOOT_ID_LEN - 1] != '\0' ||
	    rec->group[CGROUP_PATH_MAX - 1] != '\0')
		return -EBADMSG;
	for (i = 0; i < rec->nprogs; i++) {
		const struct record_prog *p = &rec->prog[i];

		if (p->filters_min > p->filters_max ||
		    record_prog(rec, p->role) != p)
			return -EBADMSG;
	}
	return rec->prog[0].role == kind->first && rec->prog[0].uid == rec->uid
	    ? 0
	    : -EBADMSG;
}

int
record_parse(const void *buf, size_t len, struct record *ret)
{
	struct record_v2 old = { 0 };
	struct record rec = { 0 };

	memcpy(&rec, buf, len < sizeof(rec) ? len : sizeof(rec));
	if (len < V1_LEN || rec.magic != RECORD_MAGIC)
		return -EBADMSG;
	if (rec.version == 1 || rec.version == 2) {
		if (len != (rec.version == 1 ? V1_LEN : sizeof(old)))
			return -EBADMSG;
		memcpy(&old, buf, len);
		from_v2(&old, &rec);
	} else if (rec.version < RECORD_VERSION || len < sizeof(rec) ||
	    rec.len != len)
		return -EBADMSG;
	if (check(&rec) < 0)
		return -EBADMSG;
	*ret = rec;
	return 0;
}

int
record_write(int dirfd, const struct record *rec)
{
	int fd, r;

	(void)unlinkat(dirfd, "record.new", 0);
	fd = openat(dirfd, "record.new",
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, rec, sizeof(*rec));
	if (r == 0 &&
	    (fsync(fd) < 0 ||
		renameat(dirfd, "record.new", dirfd, "record") < 0 ||
		fsync(dirfd) < 0))
		r = -errno;
	fd_close(&fd);
	return r;
}

int
record_read(int run_fd, const char *name, struct record *ret)
{
	char path[NAME_MAX + sizeof("/record")];
	_Alignas(8) uint8_t buf[RECORD_LEN_MAX + 1];
	struct stat st;
	ssize_t n;
	int fd, r = -EBADMSG;

	(void)snprintf(path, sizeof(path), "%s/record", name);
	fd = openat(
	    run_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 &&
	    (st.st_mode & 022) == 0 && (n = read(fd, buf, sizeof(buf))) > 0 &&
	    n <= RECORD_LEN_MAX)
		r = record_parse(buf, (size_t)n, ret);
	fd_close(&fd);
	return r;
}

const struct record_prog *
record_prog(const struct record *rec, unsigned int role)
{
	uint32_t i;

	for (i = 0; i < rec->nprogs && i < RECORD_PROGS_MAX; i++) {
		if (rec->prog[i].role == role)
			return &rec->prog[i];
	}
	return NULL;
}
