#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "common/asan.h"
#include "common/confine.h"
#include "common/log.h"
#include "common/util.h"

/* What every room's event loop does, whatever it is for. */
const struct seccomp_rule seccomp_loop[] = {
	SC_ALLOW(epoll_wait), /* libevent */
	SC_ALLOW(epoll_pwait), /* libevent, where libc maps it so */
	SC_ALLOW(epoll_pwait2), /* libevent, newer kernels' timeouts */
	SC_ALLOW(epoll_ctl), /* libevent: new and freed events */
	SC_ALLOW(recvmsg), /* proto/chan.c */
	SC_ALLOW(sendmsg), /* proto/chan.c */
	SC_ALLOW(poll), /* proto/chan.c msg_wait */
	SC_ALLOW(read), /* libevent's signal pipe */
	SC_ALLOW(write), /* common/log.c */
	SC_ALLOW(close), /* descriptors that were handed over */
	SC_ALLOW(clock_gettime), /* where the vDSO cannot answer */
	SC_ALLOW(gettimeofday), /* likewise, libevent */
	SC_ALLOW(timerfd_settime), /* libevent's precise timer */
	SC_ALLOW(brk), /* malloc */
	SC_ALLOW_IF(mmap, 2, PROT_EXEC, 0), /* malloc: never code */
	SC_ALLOW_IF(mprotect, 2, PROT_EXEC, 0), /* malloc's arenas */
	SC_ALLOW(munmap), /* malloc */
	SC_ALLOW(mremap), /* realloc of large blocks */
	SC_ALLOW_IF(madvise, 2, UINT32_MAX, MADV_DONTNEED), /* free */
	SC_ALLOW(getrandom), /* ids, hash seeds */
	SC_ALLOW(getpid), /* libc: abort, raise; kill points */
	SC_ALLOW(futex), /* libc's locks */
	SC_ALLOW(rt_sigreturn), /* signal handlers end */
	SC_ALLOW(rt_sigprocmask), /* abort(3), libevent */
	SC_ALLOW(restart_syscall), /* after a stop */
	SC_ALLOW(exit), /* threads */
	SC_ALLOW(exit_group), /* the end */
#ifdef MEWS_TEST
	SC_ALLOW(kill), /* proto/kill.c, test builds only */
#endif
};
const size_t seccomp_loop_len = nitems(seccomp_loop);

#ifdef SECCOMP_DEBUG
/* A developer's build (EXTRA=-DSECCOMP_DEBUG): says which call was killed. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#define ACT_DENY SCMP_ACT_TRAP

static void
on_sigsys(int sig, siginfo_t *si, void *ctx)
{
	const char *name =
	    seccomp_syscall_resolve_num_arch(si->si_arch, si->si_syscall);

	(void)sig;
	(void)ctx;
	log_error("seccomp: %s (%d) is not allowed", name == NULL ? "?" : name,
	    si->si_syscall);
	_exit(159);
}

void
seccomp_debug_arm(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigsys,
		.sa_flags = SA_SIGINFO };

	(void)sigaction(SIGSYS, &sa, NULL);
}
#else
#define ACT_DENY SCMP_ACT_KILL_PROCESS

#endif

static void
add_rows(scmp_filter_ctx ctx, uint32_t match, const struct seccomp_rule *rows,
    size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		const struct seccomp_rule *s = &rows[i];
		uint32_t act = match;
		int r;

		if (s->err > 0)
			act = SCMP_ACT_ERRNO((uint32_t)s->err);
		else if (s->err == SC_FAKED)
			act = SCMP_ACT_ERRNO(0);

		if (s->arg < 0)
			r = seccomp_rule_add_array(ctx, act, s->nr, 0, NULL);
		else
			r = seccomp_rule_add(ctx, act, s->nr, 1,
			    SCMP_CMP((unsigned int)s->arg, SCMP_CMP_MASKED_EQ,
				s->mask, s->val));
		if (r < 0 && r != -EEXIST)
			fatal("seccomp row %zu (call %d): errno %d", i, s->nr,
			    -r);
	}
}

static void
load(scmp_filter_ctx ctx)
{
	int r;

	/* no_new_privs is set by the library: mewsd has it from here, and all
	 * that it starts; wrong-arch calls kill; TSYNC because orchd has its
	 * commit worker by then */
	if ((r = seccomp_attr_set(
		 ctx, SCMP_FLTATR_CTL_NNP, RULE(SECCOMP_NNP))) < 0 ||
	    (r = seccomp_attr_set(
		 ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) < 0 ||
	    (r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2)) < 0 ||
	    (r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1)) < 0)
		fatal("seccomp attribute: errno %d", -r);
#ifdef SECCOMP_DEBUG
	seccomp_debug_arm();
#endif
	if ((r = seccomp_load(ctx)) < 0)
		fatal("seccomp_load: errno %d", -r);
	seccomp_release(ctx);
}

void
seccomp_allow(const struct seccomp_rule *base, size_t nbase,
    const struct seccomp_rule *own, size_t nown)
{
	scmp_filter_ctx ctx = seccomp_init(ACT_DENY);

	if (ctx == NULL)
		fatal("seccomp_init");
	add_rows(ctx, SCMP_ACT_ALLOW, base, nbase);
	add_rows(ctx, SCMP_ACT_ALLOW, own, nown);
#ifdef MEWS_ASAN
	add_rows(ctx, SCMP_ACT_ALLOW, seccomp_asan, seccomp_asan_len);
#endif
	load(ctx);
}

void
seccomp_deny(const struct seccomp_rule *rows, size_t n)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (ctx == NULL)
		fatal("seccomp_init");
	add_rows(ctx, ACT_DENY, rows, n);
	load(ctx);
}

#ifdef SECCOMP_DEBUG
int
seccomp_watched(const struct seccomp_rule *rows, size_t n)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_NOTIFY);
	int r;

	if (ctx == NULL)
		fatal("seccomp_init");
	add_rows(ctx, SCMP_ACT_ALLOW, rows, n);
	/* no TSYNC: the kernel has it or a listener; there is one thread */
	if ((r = seccomp_attr_set(
		 ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)) < 0 ||
	    (r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2)) < 0 ||
	    (r = seccomp_load(ctx)) < 0)
		fatal("seccomp_load, watched: errno %d", -r);
	return seccomp_notify_fd(ctx);
}

void
seccomp_debug_say(int listener, const char *program)
{
	struct seccomp_notif *req = NULL;
	struct seccomp_notif_resp *resp = NULL;
	char *name;

	if (seccomp_notify_alloc(&req, &resp) < 0 ||
	    seccomp_notify_receive(listener, req) < 0)
		goto out;
	name = seccomp_syscall_resolve_num_arch(req->data.arch, req->data.nr);
	log_error("seccomp: %s (%d), arguments %#llx %#llx %#llx, is not "
		  "allowed: %s",
	    name == NULL ? "?" : name, req->data.nr,
	    (unsigned long long)req->data.args[0],
	    (unsigned long long)req->data.args[1],
	    (unsigned long long)req->data.args[2], program);
	free(name);
out:
	seccomp_notify_free(req, resp);
}
#endif
