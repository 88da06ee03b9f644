#include <signal.h>
#include <sys/wait.h>

#include "mewsd/mewsd.h"

void
child_kill(struct child *c)
{
	c->doomed = true;
	(void)kill(c->pid, SIGKILL);
}

bool
child_is_dead(const struct child *c)
{
	siginfo_t si = { 0 };

	return waitid(P_PID, (id_t)c->pid, &si, WEXITED | WNOHANG | WNOWAIT) ==
	    0 &&
	    si.si_pid == c->pid;
}
