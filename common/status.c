#include <signal.h>
#include <sys/wait.h>

#include "common/status.h"

const char *
status_hint(int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return ": its filter refused a call (dmesg: type=1326)";
	return "";
}
