#include <errno.h>
#include <string.h>

#include "proto/api.h"
#include "proto/launch.h"

#define LOAD(v, p) memcpy(&(v), (p), sizeof(v))

int
api_conn_check(const void *p)
{
	struct api_conn v;

	LOAD(v, p);
	return v.conn != 0 ? 0 : -EINVAL;
}

int
api_caller_check(const void *p)
{
	struct api_caller v;

	LOAD(v, p);
	return v.conn != 0 && v.role <= ROLE_ADMIN && v.share < SHARE_KINDS &&
		v.divided <= 1
	    ? 0
	    : -EINVAL;
}

int
api_req_check(const void *p)
{
	struct api_req v;
	size_t i;

	LOAD(v, p);
	if (v.conn == 0 ||
	    (v.kind > STREAM_KIND_MAX && !launch_is_log(v.kind)) ||
	    (v.flags & ~STREAM_FOLLOW) != 0 || v.since_ns < 0)
		return -EINVAL;
	for (i = 0; i < API_VARS_MAX; i++)
		if (memchr(v.var[i], '\0', sizeof(v.var[i])) == NULL)
			return -EINVAL;
	return memchr(v.key, '\0', sizeof(v.key)) != NULL &&
		memchr(v.tenant, '\0', sizeof(v.tenant)) != NULL
	    ? 0
	    : -EINVAL;
}

int
api_res_check(const void *p)
{
	struct api_res v;

	LOAD(v, p);
	if (v.conn == 0 || v.status < 100 || v.status > 599 ||
	    v.doc > API_DOC_MAX_KIND)
		return -EINVAL;
	return 0;
}
