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

/* gid, that is his without being among the others, too. */
static int
take_groups(int sock, gid_t gid, struct creds *ret)
{
	gid_t buf[PEER_GROUPS_MAX + 1], *groups;
	socklen_t len = PEER_GROUPS_MAX * sizeof(*buf);
	uint32_t n;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, buf, &len) < 0) {
		if (errno != ERANGE)
			return -errno;
		ret->is_crowd = true;
		return 0;
	}
	n = (uint32_t)(len / sizeof(*groups));
	buf[n++] = gid;
	if ((groups = calloc(n, sizeof(*groups))) == NULL)
		return -ENOMEM;
	memcpy(groups, buf, n * sizeof(*groups));
	ret->groups = groups;
	ret->ngroups = n;
	/* not qsort: glibc's asks the kernel how much memory there is, which
	 * the filter does not let it */
	if (n > 1 && heapsort(groups, n, sizeof(*groups), cmp_gid) < 0) {
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
	return take_groups(sock, cred.gid, ret);
}

void
peer_clear(struct creds *c)
{
	free((gid_t *)(uintptr_t)c->groups);
	c->groups = NULL;
	c->ngroups = 0;
}
