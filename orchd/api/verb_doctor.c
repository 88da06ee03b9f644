#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/clock.h"
#include "common/cur.h"
#include "orchd/api/access.h"
#include "orchd/api/answer.h"
#include "orchd/api/conn.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"
#include "orchd/orchd.h"
#include "orchd/tenant/tenant.h"
#include "orchd/vm/doubt.h"
#include "orchd/vm/vm.h"

struct checks {
	struct wcur w;
	uint32_t n;
};

static void check_add(struct checks *ck, const char *name, bool ok,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void
check_add(struct checks *ck, const char *name, bool ok, const char *fmt, ...)
{
	struct check_view v = { .ok = ok };
	va_list ap;

	(void)snprintf(v.name, sizeof(v.name), "%s", name);
	va_start(ap, fmt);
	(void)vsnprintf(v.detail, sizeof(v.detail), fmt, ap);
	va_end(ap);
	if (table_pack_item(&check_table, &v, &ck->w) == 0)
		ck->n++;
}

static bool
trouble_words(const struct vm *vm, char *ret, size_t len)
{
	if (vm->broken.why[0] == '\0')
		return doubt_words(vm, ret, len);
	(void)snprintf(ret, len,
	    "its row in the store cannot be read: `mews inspect %.63s` says "
	    "why, `mews rm -f` ends it",
	    vm->row.name);
	return true;
}

/* VMs that he sees and of which nothing can be said: a line each, up to
 * DOUBTS_MAX. */
#define DOUBTS_MAX 8
/* A look is at all of netd's rules, and any caller asks for one: netd has not
 * more than a hundredth of its time for them. */
#define LOOK_TIMES 100
#define LOOK_MS 1000
#define LOOK_MAX_MS 60000
#define DISK_LOW_MIB 256 /* some logs' worth */
static void
check_doubts(struct checks *ck, const struct req *r)
{
	unsigned int n = 0;
	const struct vm *vm;
	char why[200];

	TAILQ_FOREACH (vm, &r->o->vms.list, entry) {
		if (access_role(r->c, vm->obj.tenant) == TENANT_NONE ||
		    !trouble_words(vm, why, sizeof(why)))
			continue;
		if (++n <= DOUBTS_MAX)
			check_add(
			    ck, "vm", false, "%.63s: %s", vm->row.name, why);
	}
	if (n > DOUBTS_MAX)
		check_add(ck, "vms", false, "%u more like these: see mews ps",
		    n - DOUBTS_MAX);
}

/* Nobody else is in one. */
static void
check_tenants(struct checks *ck, const struct req *r)
{
	unsigned int n = 0;
	struct tenant *t;

	if (r->role != TENANT_HOST)
		return;
	for (t = tenant_first(&r->o->tenants); t != NULL; t = tenant_next(t))
		if (t->broken[0] != '\0' && ++n <= DOUBTS_MAX)
			check_add(ck, "tenant", false,
			    "%.63s: %s: `mews tenant set` says anew who is in "
			    "it, `mews tenant rm` ends it",
			    t->row.name, t->broken);
	if (n > DOUBTS_MAX)
		check_add(ck, "tenants", false,
		    "%u more like these: see mews tenant ls", n - DOUBTS_MAX);
}

static void
check_orphans(struct checks *ck, const struct req *r)
{
	const struct vm *vm;
	unsigned int n = 0;

	if (r->role != TENANT_HOST || !link_all_listed(r->o))
		return;
	TAILQ_FOREACH (vm, &r->o->vms.list, entry)
		n += vm->row.state == VM_ORPHAN;
	if (n > 0)
		check_add(ck, "orphans", false,
		    "%u of what runs the store does not know: `mews orphan ls` "
		    "says what, and until when it may",
		    n);
}

static void
check_store(struct checks *ck, const struct orchd *o)
{
	const int r = store_health(o->store);

	if (r < 0)
		check_add(ck, "store", false,
		    "the last write failed: %s; what cannot be written is refused",
		    strerrordesc_np(-r));
	else
		check_add(ck, "store", true, "can be written");
}

static bool
is_time_to_look(const struct net_look *n)
{
	int64_t pause = n->took_ms * LOOK_TIMES;

	if (pause < LOOK_MS)
		pause = LOOK_MS;
	if (pause > LOOK_MAX_MS)
		pause = LOOK_MAX_MS;
	return n->ask == 0 && clock_ms() - n->asked_ms >= pause;
}

/* The look that it asks for is told the next time. */
static void
check_network(struct checks *ck, struct orchd *o)
{
	const struct link *l = &o->link[LINK_NET];
	const struct net_look *n = &o->net;
	const char *missing = !l->listed ? l->row->missing
	    : !n->is_known		 ? "netd has not looked at them yet"
					 : NULL;
	const char *wrong = n->is_wrong ? n->why : NULL;

	if (l->listed && is_time_to_look(n))
		link_net_ensure(o);
	if (missing != NULL || (wrong != NULL && !n->is_uplink))
		check_add(ck, "network", false, "%s",
		    missing != NULL ? missing : wrong);
	else
		check_add(ck, "network", true, "bridge and rules are in place");
	if (o->conf.uplink[0] == '\0')
		check_add(ck, "uplink", true,
		    "none is set in mews.conf: guests reach nothing outside of "
		    "this host");
	else if (missing != NULL || wrong != NULL)
		check_add(ck, "uplink", false, "%s",
		    missing != NULL ? missing : wrong);
	else
		check_add(ck, "uplink", true,
		    "guests reach what is outside by %s", o->conf.uplink);
}

/* Where the store is, which is orchd's root.  How much there is of what all
 * tenants use is for host admins: it tells what others do. */
static void
check_disk(struct checks *ck, const struct req *r)
{
	struct statvfs fs;
	uint64_t left, all;

	if (statvfs("/", &fs) < 0)
		return;
	left = (uint64_t)fs.f_bavail * fs.f_frsize >> 20;
	all = (uint64_t)fs.f_blocks * fs.f_frsize >> 20;
	if (r->role == TENANT_HOST)
		check_add(ck, "disk", left >= DISK_LOW_MIB,
		    "%" PRIu64 " MiB of %" PRIu64
		    " are free where the store is%s",
		    left, all, left >= DISK_LOW_MIB ? "" : ": make room");
	else
		check_add(ck, "disk", left >= DISK_LOW_MIB, "%s",
		    left >= DISK_LOW_MIB
			? "there is room where the store is"
			: "there is little room where the store is");
}

/* Likewise. */
static void
check_room(struct checks *ck, const struct req *r)
{
	const struct orchd_conf *conf = &r->o->conf;
	const unsigned int n = r->o->vms.n;

	if (r->role == TENANT_HOST)
		check_add(ck, "room for vms", n < conf->max_vms,
		    "%u of %u vms, at most %u cpus and %u MiB each", n,
		    conf->max_vms, conf->max_vcpus, conf->max_mem_mib);
	else
		check_add(ck, "room for vms", n < conf->max_vms,
		    "%s at most %u cpus and %u MiB each",
		    n < conf->max_vms ? "for one more,"
				      : "this host runs as many as it may,",
		    conf->max_vcpus, conf->max_mem_mib);
}

void
verb_doctor(const struct req *r)
{
	struct orchd *o = r->o;
	struct api_res res = {
		.conn = r->c->id, .status = 200, .doc = API_DOC_LIST
	};
	uint8_t buf[API_TAIL_MAX];
	struct checks ck = { .n = 0 };

	wcur_init(&ck.w, buf, sizeof(buf));
	(void)wcur_u32(&ck.w, 0);
	check_add(&ck, "accelerator", o->caps_known, "%s",
	    !o->caps_known ? "still being probed"
		: o->caps.doubt
		? "emulation (tcg) for now: whether KVM works could not be "
		  "found out (launchd.log says why); it is asked again"
		: o->caps.accel == ACCEL_KVM
		? (launch_has_microvm(&o->caps) ? "kvm, by qemu-microvm"
						: "kvm")
		: "emulation (tcg): slower, works everywhere");
	if (o->caps_known && o->caps.unstaged)
		check_add(&ck, "staged tree", false,
		    "no vm can be started: it is missing, or not root's own: "
		    "spawner.log says what; mend it, then restart mewsd");
	check_add(&ck, "cgroup", o->caps.cgroup != 0, "%s%s",
	    o->caps.cgroup	? "v2: memory, pids and cpu limits per vm"
		: o->caps_known ? "no limits beside the vm's own size: "
				: "still being probed",
	    o->caps.cgroup ? "" : o->caps.why);
	check_add(&ck, "vsock", o->caps_known, "%s%s",
	    o->caps.vsock	? "agents are dialled by AF_VSOCK"
		: o->caps_known ? "agents are reached by virtio-serial: "
				: "still being probed",
	    o->caps.vsock ? "" : o->caps.vsock_why);
	check_network(&ck, o);
	check_add(&ck, "launcher", o->link[LINK_LAUNCH].listed, "%s",
	    o->link[LINK_LAUNCH].listed ? "answers"
					: o->link[LINK_LAUNCH].row->missing);
	check_store(&ck, o);
	check_disk(&ck, r);
	check_room(&ck, r);
	check_orphans(&ck, r);
	check_doubts(&ck, r);
	check_tenants(&ck, r);
	memcpy(buf, &ck.n, sizeof(ck.n));
	answer_doc(r->o, r->id, &res, buf, ck.w.used);
}
