#ifndef MEWS_AGENT_API_H
#define MEWS_AGENT_API_H

struct conn;

/* c->http and c->body hold a whole request: answers it, or upgrades. */
void api_request(struct conn *c);

#endif
