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
api_req_check(const void *p)
{
	struct api_req v;

	LOAD(v, p);
	if (v.conn == 0 || v.kind > STREAM_CONSOLE_LOG ||
	    (v.flags & ~STREAM_FOLLOW) != 0)
		return -EINVAL;
	if (memchr(v.name, '\0', sizeof(v.name)) == NULL ||
	    memchr(v.key, '\0', sizeof(v.key)) == NULL)
		return -EINVAL;
	return 0;
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
