#ifndef MEWS_WARD_H
#define MEWS_WARD_H

#include <stddef.h>
#include <stdint.h>

#include "proto/launch.h"
#include "proto/machine.h"

/*
 * launchd <-> warden, over run/vm/<uid>/warden.sock; versioned like keep.h:
 * each side says its version first, and says nothing to the other that came
 * later.  One launchd at a time: a new connection replaces the old one.
 */
#define WARD_VERSION 5
/* From here on a warden may ask its launchd to dial. */
#define WARD_VERSION_DIAL 2
/* From here on a warden says its state at least every WARD_BEAT_MS to a launchd
 * of that version, and whether its agent answers: one that is not heard for
 * WARD_SILENT_MS is stopped or hangs. */
#define WARD_VERSION_BEAT 3
#define WARD_BEAT_MS 20000
/* From here on a warden takes STREAM_SIGNAL and a rung's grace_ms. */
#define WARD_VERSION_SIGNAL 4
/* From here on a warden takes WARD_ORPHANS. */
#define WARD_VERSION_ORPHANS 5
#define WARD_SILENT_MS 45000

enum ward_msg {
	/* launchd -> warden */
	WARD_HELLO = 0x0701, /* ward_hello -> WARD_STATE */
	WARD_SPEC = 0x0702, /* + sealed memfd: the boot spec */
	WARD_RUN = 0x0703, /* verified: let the guest run (QMP cont) */
	WARD_STREAM = 0x0704, /* launch_stream + the guest's end */
	WARD_RUNG = 0x0705, /* ward_rung: AGENT, ACPI or QUIT */
	WARD_DIALLED = 0x0706, /* ward_dialled + socket: answer to DIAL */
	WARD_ORPHANS = 0x0707, /* the orchd that gave its streams is no more,
				  and nobody counts them: they end */
	/* warden -> launchd */
	WARD_STATE = 0x0781, /* ward_state: answer to HELLO, and news */
	WARD_DIAL = 0x0782, /* ward_dial -> WARD_DIALLED */
};

struct ward_hello {
	uint32_t version;
	uint32_t pad;
};

struct ward_rung {
	uint32_t rung; /* enum stop_rung */
	uint32_t grace_ms; /* AGENT, for a warden of WARD_VERSION_SIGNAL: see
			      launch_stop; else 0 */
};

/*
 * AF_VSOCK knows neither namespaces nor uids, so a jail has none of it (I5):
 * launchd connects to a port of this VM's own guest and hands the socket
 * down, unread.
 */
struct ward_dial {
	uint32_t port; /* one that an agent serves: AGENT_PORT_HTTP */
	uint32_t seen; /* cookie of the last answer with a socket; 0: none */
};
#define AGENT_PORT_HTTP 1024
/* Of one VM, without an answer that was seen: descriptors on their way count
 * as their sender's. */
#define WARD_DIALS_MAX 8

struct ward_dialled {
	int32_t code; /* 0 and a socket, or a negative errno and none */
	uint32_t cookie; /* with a socket: to be said when asking again */
};

enum ward_mute {
	WARD_HEARD = 0,
	WARD_MUTE_SILENT = 1, /* the agent has not answered in time */
	WARD_MUTE_NOT_READY = 2, /* it says that it is not ready */
};

struct ward_state {
	uint32_t version;
	uint8_t qmp; /* 1: the hypervisor's control socket answers */
	uint8_t running; /* 1: guest CPUs run */
	uint8_t agent; /* 1: the agent's channel is up */
	uint8_t ready; /* 1: the agent has its boot spec, and answers */
	uint8_t need_spec; /* 1: the agent has none and neither have we */
	uint8_t mute; /* enum ward_mute: why ready is 0 again.  Of a later
			 warden it may be more: then it is mute all the same */
	uint8_t halted; /* 1: the guest's CPUs stopped of an error of KVM's, and
			   cannot go on; 0 of an earlier suite's warden */
	uint8_t pad;
	uint32_t guest_event; /* enum exit_reason seen on QMP: OFF, REBOOT,
				 PANIC; 0 none */
	char detail[112]; /* last words of the hypervisor; may be empty */
	/* When the control socket ends, one last state says qmp 0 with the
	 * guest_event: launchd waits for it (shortly) to name the reason. */
};

int ward_hello_check(const void *p);
int ward_rung_check(const void *p);
int ward_state_check(const void *p);
int ward_dial_check(const void *p);
int ward_dialled_check(const void *p);

/*
 * Streams (I12: descriptors travel towards the VM): SOCK_STREAM, frames of
 * common/frame.h.  The client's first frame is FRAME_OPEN with the request's
 * JSON (exec; empty for a console).  The warden's first frame is
 * FRAME_OPENED: u16 big-endian HTTP status (101: go on), then text for a
 * person (a refusal may come, and the end, before FRAME_OPEN was read).
 * 503 is of what was not done.  502 and WARD_WENT_AWAY: the agent's answer to
 * what it was asked will not come; a warden of an earlier suite says that with
 * 503.  The text of an exec's 101 is WARD_OPENED_SIGNALS if it takes
 * channel 5, else empty.  After 101, exec uses channels 0-4, 255 and perhaps 5;
 * a console uses 0 in and 1 out; a console log, which is launchd's
 * (launchd/history.h) but in VMs of an earlier suite, 1 out, then the end.  A
 * call is over with FRAME_OPENED, whose text is the agent's answer: a
 * STREAM_SIGNAL always (200), an exec if it asks for a detached command (201).
 */
#define FRAME_OPEN 0xfe
/* Of a FRAME_OPEN.  One that a suite of before started takes FRAME_PAYLOAD_MAX,
 * and refuses what is longer (400). */
#define WARD_OPEN_MAX 262144
#define FRAME_OPENED 0xfd
#define WARD_OPENED_SIGNALS "signals"
#define WARD_WENT_AWAY "the agent went away"

/*
 * Inside the jail, descriptors that the spawner leaves to the keeper:
 * 3 keeper's listener, 4 warden's listener (SEQPACKET, bound, not yet
 * listening), 5 the FIFO that the console goes to, 6 /dev/vhost-vsock with the
 * VM's address set, or /dev/null, 2 the FIFO of the VM's own log, 7 the same,
 * opened anew for the hypervisor.  FIFOs are O_RDWR|O_NONBLOCK: nobody who
 * writes waits, or dies while launchd starts anew.  Spawners before had files
 * as 2 and 5 and no 7.
 * Its arguments are launchd's uid and that address (0: none).
 * This has no version: a spawner may be newer than the staged tree, so what
 * is here stays, and more comes as further arguments and descriptors, which
 * a keeper that does not know them closes.
 *
 * Keeper and warden are of one staged tree:
 * keeper -> `mews-warden UID` (serve; UID: launchd's, in decimal, the only
 * peer it answers): 3 warden's listener, 4 the console's FIFO.
 * keeper -> `mews-warden -x` (compose and exec the hypervisor): 3 sealed
 * memfd with struct ward_exec, from 4 on what it lists.  The listeners QMP,
 * serial and agent are abstract sockets of the jail's own network namespace,
 * bound by the keeper: no path, no other namespace can name them; the warden
 * connects by those names.
 */
struct ward_exec {
	uint32_t version; /* WARD_EXEC_VERSION */
	uint32_t nfds;
	struct machine_fd fd[MACHINE_FDS_MAX]; /* of descriptors 4, 5, ... */
	struct machine machine;
};
#define WARD_EXEC_VERSION 1
#define WARD_EXEC_FD 3
#define WARD_EXEC_FD_FIRST 4

/* len bytes of a file, checked as a whole.  0 with all of *ret, or -EINVAL. */
int ward_exec_get(const void *buf, size_t len, struct ward_exec *ret);
/* The descriptor of that name, or -1. */
int ward_exec_fd(
    const struct ward_exec *x, unsigned int role, unsigned int index);

/*
 * The staged tree that is the jail's root has the hypervisors and their
 * libraries and modules where the distribution keeps them, and:
 */
#define WARD_FIRMWARE_PATH "/boot/firmware"
#define WARD_KERNEL_PATH "/boot/vmlinuz"
#define WARD_INITRAMFS_PATH "/boot/initramfs"
#define WARD_SOCK_QMP "qmp"
#define WARD_SOCK_SERIAL "serial"
#define WARD_SOCK_AGENT "agent"

/* Where the staged tree has them; its top folders are bound read-only, its
 * top links copied, its mount points (proc, dev, run, tmp, vm) left out. */
#define STAGE_KEEPER "/usr/bin/mews-keeper"
#define STAGE_WARDEN "/usr/bin/mews-warden"
/* hypervisors: proto/machine.h */

#endif
