#include <bsd/stdlib.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "orchd/api/peer.h"

static int
cmp_gid(const void *pa, const void *pb)
{
	const gid_t a = *(const gid_t *)pa, b = *(const gid_t *)pb;

	return a < b ? -1 : a > b;
}

static int
take_groups(int sock, struct creds *ret)
{
	gid_t buf[PEER_GROUPS_MAX], *groups;
	socklen_t len = sizeof(buf);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, buf, &len) < 0) {
		if (errno != ERANGE)
			return -errno;
		ret->is_crowd = true;
		return 0;
	}
	if (len == 0)
		return 0;
	if ((groups = malloc(len)) == NULL)
		return -ENOMEM;
	memcpy(groups, buf, len);
	ret->ngroups = (uint32_t)(len / sizeof(*groups));
	ret->groups = groups;
	/* not qsort: glibc's asks the kernel how much memory there is, which
	 * the filter does not let it */
	if (ret->ngroups > 1 &&
	    heapsort(groups, ret->ngroups, sizeof(*groups), cmp_gid) < 0) {
		peer_clear(ret);
		return -ENOMEM;
	}
	return 0;
}

int
peer_creds(int sock, struct creds *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	*ret = (struct creds){ .uid = (uid_t)-1 };
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	if (len != sizeof(cred))
		return -EINVAL;
	ret->uid = cred.uid;
	ret->pid = cred.pid;
	return take_groups(sock, ret);
}

void
peer_clear(struct creds *c)
{
	free((gid_t *)(uintptr_t)c->groups);
	c->groups = NULL;
	c->ngroups = 0;
}
