#ifndef MEWS_AGENT_PORT_H
#define MEWS_AGENT_PORT_H

#include "agent/loop.h"
#include "common/sess.h"

struct agent;

/*
 * The virtio-serial port "mews.agent": the one way in.  It is opened once,
 * for the life of the guest; while no host is connected it is just quiet.
 */
struct port {
	struct watch w;
	struct sess *sess;
};

/* Dies without a port: a guest nobody can reach has no use. */
void port_open(struct port *p, struct agent *a);
/* Sends what the session has, as far as the port takes it. */
void port_flush(struct port *p);

#endif
