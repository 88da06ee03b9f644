#ifndef MEWS_APID_OPENAPI_H
#define MEWS_APID_OPENAPI_H

struct jbuf;

/* The API's description (OpenAPI 3.0.3), from the routes and the tables. */
#define OPENAPI_MAX (256UL * 1024)
void openapi_write(struct jbuf *b);

#endif
