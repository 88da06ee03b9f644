#include <stdio.h>
#include <sys/wait.h>

#include "common/status.h"
#include "launchd/reason.h"
#include "launchd/vm.h"

/* Part of it comes out of a jail: one line, printable, bounded. */
static void
set_detail(struct vm *v, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (; *text != '\0' && n + 5 < sizeof(v->detail); text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c < 0x7f) {
			v->detail[n++] = (char)c;
			continue;
		}
		v->detail[n++] = '\\';
		v->detail[n++] = 'x';
		v->detail[n++] = hex[c >> 4];
		v->detail[n++] = hex[c & 15];
	}
	v->detail[n] = '\0';
}

void
reason_set(struct vm *v, uint32_t reason, const char *detail)
{
	if (v->reason != EXIT_NONE)
		return;
	v->reason = reason;
	if (detail != NULL)
		set_detail(v, detail);
}

bool
reason_may_be_oom(const struct vm *v)
{
	int st = v->keep_state.vmm_status;

	return v->keep_state.phase != KEEP_ENDED ||
	    (WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
}

/* It never ran, and its keeper says how it ended all the same. */
static void
not_started(struct vm *v, const char *words)
{
	int st = v->keep_state.vmm_status;
	char text[VM_DETAIL];

	(void)snprintf(text, sizeof(text),
	    "the hypervisor did not start (%s %d)%s",
	    WIFSIGNALED(st) ? "signal" : "status",
	    WIFSIGNALED(st) ? WTERMSIG(st) : WEXITSTATUS(st), status_hint(st));
	reason_set(v, EXIT_START_FAILED, words[0] != '\0' ? words : text);
}

void
reason_find(struct vm *v)
{
	int st = v->keep_state.vmm_status;
	bool ran = v->vmm_pid != 0 || v->is_adopted;
	bool told = v->keep_state.phase == KEEP_ENDED;
	const char *words = v->ward_state.detail;
	char text[VM_DETAIL];

	if (told)
		v->status = st;
	if (v->reason != EXIT_NONE)
		return;
	if (told && v->rung != UINT32_MAX)
		reason_set(v, EXIT_STOPPED, words);
	else if (v->oom_kills > 0 && reason_may_be_oom(v))
		reason_set(v, EXIT_OOM, "at the memory limit of its cgroup");
	else if (!told)
		reason_set(v, EXIT_KEEPER, "");
	else if (!ran)
		not_started(v, words);
	else if (WIFSIGNALED(st)) {
		(void)snprintf(text, sizeof(text), "by signal %d%s",
		    WTERMSIG(st), status_hint(st));
		reason_set(v, EXIT_KILLED, text);
	} else if (WEXITSTATUS(st) != 0)
		reason_set(v, EXIT_VMM_ERROR, words);
	/* the warden is inside: it may name what guests do, nothing else */
	else if (v->ward_state.guest_event >= EXIT_GUEST_OFF &&
	    v->ward_state.guest_event <= EXIT_GUEST_PANIC)
		reason_set(v, v->ward_state.guest_event, words);
	else
		reason_set(v, EXIT_GUEST_OFF, words);
}
