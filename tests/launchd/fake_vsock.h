#ifndef MEWS_TESTS_FAKE_VSOCK_H
#define MEWS_TESTS_FAKE_VSOCK_H

/*
 * launchd and its spawner on a kernel that has AF_VSOCK and /dev/vhost-vsock,
 * for machines that have neither: linked in their place (mk/hostile.mk).  An
 * address is the socket vsock-CID-PORT in run/vm, launchd's root, where a test
 * listens.  By the address's last four bits:
 */
#define LIES 3 /* another answers than was called */
#define HANGS 4 /* it rings, until the test accepts and reads */
#define TAKEN 5 /* somebody else has it */
#define ODDITY(cid) ((cid)&15)

#endif
