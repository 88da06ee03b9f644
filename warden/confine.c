#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/confine.h"
#include "common/util.h"
#include "warden/warden.h"

/*
 * On top of the event loop's.  What a guest can reach by taking the warden
 * over: three sockets that lead to itself, two FIFOs for its words, launchd's
 * channel.  No open, no exec, no fork, no signal, no other socket family.
 */
static const struct seccomp_rule rows[] = {
	SC_ALLOW_IF(socket, 0, UINT32_MAX, AF_UNIX), /* dial.c */
	SC_ALLOW(connect), /* dial.c: abstract names of the jail's namespace */
	SC_ALLOW(listen), /* dispatch.c: launchd's door, once */
	SC_ALLOW(accept4), /* dispatch.c */
	SC_ALLOW(getsockopt), /* peer's uid; kind of a stream's socket */
	SC_ALLOW(sendto), /* send(2): QMP, serial, agent, clients */
	SC_ALLOW(recvfrom), /* recv(2): likewise */
	SC_ALLOW_IF(fcntl, 1, UINT32_MAX, F_GET_SEALS), /* memfd_read */
	SC_ALLOW_IF(fcntl, 1, UINT32_MAX, F_GETFL), /* libevent */
	SC_ALLOW(newfstatat), /* memfd_read: fstat (empty root otherwise) */
	SC_ALLOW(fstat), /* likewise */
	SC_ALLOW(pread64), /* memfd_read */
	SC_ALLOW(epoll_create1), /* libevent, once */
};

void
warden_filter(void)
{
	if (RULE(WARDEN_FILTER))
		seccomp_allow(
		    seccomp_loop, seccomp_loop_len, rows, nitems(rows));
}
