#include <errno.h>
#include <string.h>

#include "cli/addr.h"
#include "common/err.h"

int
addr_parse(const char *host, char path[ADDR_PATH_MAX], struct err *e)
{
	static const char scheme[] = "unix://";
	const char *p = host + sizeof(scheme) - 1;
	size_t len;

	if (strncmp(host, scheme, sizeof(scheme) - 1) != 0)
		return err_set(e, -EINVAL,
		    "%.100s is not an address of the API: it looks like %s",
		    host, ADDR_DEFAULT);
	len = strlen(p);
	if (*p != '/')
		return err_set(e, -EINVAL,
		    "%.100s: the path after unix:// begins with a slash", host);
	if (len >= ADDR_PATH_MAX)
		return err_set(e, -EINVAL,
		    "the path of the API's socket is longer than %d bytes",
		    ADDR_PATH_MAX - 1);
	memcpy(path, p, len + 1);
	return 0;
}
