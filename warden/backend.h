#ifndef MEWS_WARDEN_BACKEND_H
#define MEWS_WARDEN_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/launch.h"
#include "proto/ward.h"

struct argv;
struct err;
struct event_base;
struct vmm;

/* What a hypervisor's control socket told; all of it may be a lie. */
struct vmm_news {
	bool up; /* it answers */
	bool running; /* guest CPUs run */
	bool halted; /* they met an error and will never run again */
	enum exit_reason guest_event; /* OFF, REBOOT, PANIC, or NONE */
	const char *detail; /* printable, for a person; NULL: none */
};

struct vmm_ops {
	/* The whole state, whenever a part of it changed. */
	void (*news)(void *arg, const struct vmm_news *n);
};

/*
 * One hypervisor.  compose runs in the process that becomes the hypervisor,
 * the rest in the serving warden.  Descriptors are those of proto/ward.h.
 */
struct vmm_backend {
	const char *name;
	/*
	 * The program's arguments for that machine.  extra: arguments for the
	 * guest's kernel, printable ASCII.  0, or a negative errno and e: also
	 * for what this hypervisor cannot do.
	 */
	int (*compose)(const struct ward_exec *x, const char *extra,
	    struct argv *ret, struct err *e);
	/* Keeps a connection to the control socket; NULL: out of memory. */
	struct vmm *(*open)(
	    struct event_base *base, const struct vmm_ops *ops, void *arg);
	void (*close)(struct vmm *v); /* NULL is fine */
	/* Looks again for a control socket that was given up. */
	void (*retry)(struct vmm *v);
	/* Lets the guest run, now or once the control socket answers. */
	void (*resume)(struct vmm *v);
	/* 0, -ENOTCONN while the control socket is down, or -EINVAL for a
	 * rung that is not the hypervisor's: ACPI and QUIT are. */
	int (*stop)(struct vmm *v, enum stop_rung rung);
};

extern const struct vmm_backend qemu_backend;

#endif
