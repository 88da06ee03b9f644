#include <bsd/unistd.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/fds.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/num.h"
#include "common/util.h"
#include "orchd/api/backup.h"
#include "orchd/check.h"
#include "orchd/link/link_launch.h"
#include "orchd/link/link_net.h"
#include "orchd/orchd.h"
#include "orchd/stored.h"
#include "orchd/tenant/tenant_kind.h"
#include "orchd/turn.h"
#include "orchd/vm/vm_kind.h"

#define STORE_PATH "/store.db" /* its root is lib/store */

static int
load_vm(void *arg, const struct vm_row *row, struct err *e)
{
	struct orchd *o = arg;
	struct vm *vm = vm_kind_new(o);
	int r;

	if (vm == NULL)
		return -ENOMEM;
	vm->row = *row;
	vm->row.request = (struct store_doc){ 0 };
	vm->obj.tenant = tenant_missing(o, row->tenant);
	vm->obj.life = OBJECT_STORED;
	r = vm->obj.tenant == NULL
	    ? -ENOMEM
	    : table_restore(&stored_request, row->request.version,
		  row->request.text, row->request.len, &vm->request, e);
	if (r == 0)
		r = vm_add(vm);
	if (r < 0)
		vm_free(vm);
	else if (vm->request.temporary) /* there it is, too many or not */
		(void)temporary_count(vm);
	return r < 0 && r != -ENOMEM ? -EBADMSG : r;
}

/* A name that it can be deleted by. */
static int
name_broken(struct vm *vm)
{
	char id[HEX64_LEN + 1];
	unsigned int n;
	int r = -EEXIST;

	num_format_hex64(vm->row.vmid, id);
	for (n = 0; r == -EEXIST && n < 100; n++) {
		(void)snprintf(vm->row.name, sizeof(vm->row.name),
		    n == 0 ? "broken-%s" : "broken-%s-%u", id, n);
		r = vm_add(vm);
	}
	return r;
}

static int
load_broken(void *arg, const struct vm_broken *b)
{
	struct orchd *o = arg;
	struct vm *vm = vm_kind_new(o);
	int r;

	if (vm == NULL)
		return -ENOMEM;
	vm->row = b->row;
	if ((vm->obj.tenant = tenant_missing(o, b->row.tenant)) == NULL) {
		vm_free(vm);
		return -ENOMEM;
	}
	if (!b->has_slot)
		vm->row.slot = UINT32_MAX; /* nobody's */
	vm->obj.life = OBJECT_STORED;
	r = b->has_name ? vm_add(vm) : -EEXIST;
	if (r == -EEXIST)
		r = name_broken(vm);
	if (r < 0)
		vm_free(vm);
	else
		vm_break(vm, b->why);
	return r;
}

static int
load_idem(void *arg, const struct idem_row *row)
{
	struct orchd *o = arg;

	(void)idem_load(o, row);
	/* a retry is to find it gone, and nobody else */
	if (row->verb == API_TENANT_CREATE || row->verb == API_TENANT_CHANGE ||
	    row->verb == API_TENANT_DELETE)
		tenant_number_given(&o->tenants, (int64_t)row->vm);
	return 0;
}

static int
load_tenant(void *arg, const struct tenant_row *row, struct err *e)
{
	return tenant_load(arg, row, e);
}

static const struct store_load loader = { load_vm, load_broken, load_idem,
	load_tenant };

/* Turns at what tenants share. */
static void
gates_set(struct orchd *o)
{
	unsigned int i, n = 1;
	cpu_set_t cpus;

	/* before the filter, which does not let it ask */
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		n = (unsigned int)CPU_COUNT(&cpus);
	gate_init(&o->gate[GATE_NET], GATE_NET_MAX);
	gate_init(&o->gate[GATE_LAUNCH], GATE_LAUNCH_MAX);
	gate_init(&o->gate[GATE_START], n * GATE_STARTS_CPU);
	for (i = 0; i < GATES; i++)
		line_init(&o->host[i], NULL);
}

static void
on_sigterm(int sig, short what, void *arg)
{
	struct orchd *o = arg;

	(void)sig;
	(void)what;
	(void)event_base_loopexit(o->base, NULL);
}

static void
events_set(struct orchd *o)
{
	struct sigaction ign = { .sa_handler = SIG_IGN };

	(void)sigaction(SIGPIPE, &ign, NULL);
	(void)sigaction(SIGINT, &ign, NULL); /* mewsd says when to end */
	o->base = loop_new();
	/* made here, because the filter allows no other epoll */
	o->conns.hup_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (o->conns.hup_epoll < 0)
		fatal("epoll_create1: %m");
	o->sigterm = evsignal_new(o->base, SIGTERM, on_sigterm, o);
	if (o->sigterm == NULL || event_add(o->sigterm, NULL) < 0)
		fatal("SIGTERM");
	o->parent = boot_room_open(&o->mewsd, o->base, &dispatch_calls, o);
	if (o->parent == NULL)
		fatal("channel to mewsd");
}

static void
orchd_close(struct orchd *o)
{
	struct tenant *t;
	struct vm *vm;
	size_t i;

	/* no helper is asked anything any more */
	for (i = 0; i < nitems(o->link); i++)
		link_close(&o->link[i]);
	/* what is under way is written, and who waited for only that is told */
	turn_now(o);
	audit_end(o);
	store_free(o->store);
	o->store = NULL;
	backup_free(o->backup);
	turn_last(o);
	for (i = 0; i < nitems(o->api); i++) {
		if (o->api[i] != NULL)
			chan_flush(o->api[i]);
	}
	conn_end_room(o, ROOM_API);
	conn_end_room(o, ROOM_API_ADMIN);
	while ((vm = TAILQ_FIRST(&o->vms.list)) != NULL)
		vm_free(vm);
	while ((t = tenant_first(&o->tenants)) != NULL)
		tenant_free(t);
	log_info("stopped");
}

/* Another's store is read by nobody who may do more than orchd. */
_Noreturn static void
check(const struct orchd *o)
{
	orchd_filter();
	_exit(check_store(STORE_PATH,
		  o->conf.check == CHECK_FILE ? STDIN_FILENO : -1,
		  STDERR_FILENO) > 0);
}

int
main(int argc, char *argv[], char *envp[])
{
	static struct orchd o = {
		.conns = { .listener = -1, .reserve_fd = -1, .hup_epoll = -1 },
		.link = { [LINK_NET].row = &link_net,
		    [LINK_LAUNCH].row = &link_launch },
	};
	struct err e = { 0 };
	int r;

	(void)argc;
	setproctitle_init(argc, argv, envp);
	log_init("orchd", LOG_INFO);
	fds_expect(BOOT_NFDS);
	boot_recv(ROOM_ORCHD, &o.boot, &o.conf, sizeof(o.conf));
	log_init("orchd", (enum log_level)o.boot.log_level);
	o.listed[SHARE_USER] = o.conf.nusers;
	o.listed[SHARE_ADMIN] = o.conf.nadmins + 1; /* and root */
	share_init(&o.temporaries, o.conf.max_vms, o.listed);
	share_init(&o.logs, LOGS_MAX, o.listed);
	share_divide(&o.temporaries, &o.tenants.is_divided);
	share_divide(&o.logs, &o.tenants.is_divided);
	tenants_init(&o.tenants);
	gates_set(&o);
	TAILQ_INIT(&o.vms.list);
	TAILQ_INIT(&o.vms.renames);
	RB_INIT(&o.vms.by_vmid);
	RB_INIT(&o.vms.by_name);
	o.vms.make = vm_kind_new;
	RB_INIT(&o.conns.by_id);
	TAILQ_INIT(&o.conns.parked);
	RB_INIT(&o.asks);
	passing_init(&o.passing, o.conf.max_conns, o.listed);
	share_divide(&o.passing.share, &o.tenants.is_divided);
	idems_init(&o.idems);

	(void)umask(RULE(STORE_MODE) ? 077 : 0); /* store.db holds secrets */
	orchd_confine(&o.boot);
	if (o.conf.check != CHECK_NONE)
		check(&o);
	events_set(&o);
	if (store_open(STORE_PATH, &o.store, &e) < 0 ||
	    store_read(o.store, &loader, &o, &e) < 0)
		fatal("%s", e.msg);
	if (o.tenants.by_default == NULL)
		fatal("store: no tenant " TENANT_DEFAULT);
	if ((r = store_try(o.store)) < 0)
		log_error("store: cannot be written: %s; VMs live on, and what "
			  "is asked of them is refused",
		    strerrordesc_np(-r));
	if (store_start(o.store, o.base, &e) < 0)
		fatal("%s", e.msg);
	orchd_filter();
	turn_init(&o);
	audit_begin(&o);
	tenants_begin(&o);
	boot_ready();
	if (event_base_dispatch(o.base) < 0)
		fatal("event loop");
	orchd_close(&o);
	return 0;
}
