#include "orchd/api/conn.h"
#include "orchd/api/reader.h"
#include "orchd/api/req.h"
#include "orchd/api/verb.h"

void
verb_events(const struct req *r)
{
	r->c->tenant = r->tenant;
	if (reader_ask(
		r->c, r->head.after, (r->head.flags & API_AT_ONCE) != 0) < 0)
		req_refuse(r, 500, "events cannot be read");
}
