#include <errno.h>
#include <sys/resource.h>

#include "common/uid.h"

bool
uid_in_use(uid_t uid)
{
	errno = 0;
	return getpriority(PRIO_USER, uid) != -1 || errno != ESRCH;
}
