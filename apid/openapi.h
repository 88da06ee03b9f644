#ifndef MEWS_APID_OPENAPI_H
#define MEWS_APID_OPENAPI_H

struct jbuf;
struct route_table;

/* A description (OpenAPI 3.0.3), from the routes and the objects' tables. */
#define OPENAPI_MAX (256UL * 1024)
void openapi_write(const struct route_table *t, struct jbuf *b);

#endif
