#ifndef MEWS_STANDIN_JAIL_H
#define MEWS_STANDIN_JAIL_H

/*
 * The launcher's tests: a small warden and a small hypervisor that speak a
 * line protocol with each other over the jail's "qmp" socket.  How the
 * hypervisor behaves is chosen by the VM's memory size.
 */
enum behave {
	BEHAVE_WELL = 64,
	BEHAVE_NO_AGENT_STOP = 65, /* hears ACPI only */
	BEHAVE_NO_SOFT_STOP = 66, /* hears SIGTERM only */
	BEHAVE_DEAF = 67, /* only dies */
	BEHAVE_NO_AGENT = 68, /* the agent never comes up */
	BEHAVE_EXIT_3 = 69, /* ends before its control socket is up */
	BEHAVE_CRASH = 70, /* dies of a signal once it runs */
	BEHAVE_REBOOT = 71, /* the guest asks for a reset */
	BEHAVE_NO_QMP = 72, /* its control socket never answers */
	BEHAVE_NO_FILTER = 73, /* leaves its own sandbox out */
	BEHAVE_EXTRA = 74, /* one process too many */
	BEHAVE_EXIT_4 = 75, /* ends with an error while it runs */
	BEHAVE_SPIN = 76, /* uses a processor up once it runs */
	BEHAVE_LATE = 77, /* does nothing for LATE_MS, then runs well */
	BEHAVE_REFUSED = 78, /* dies as of a filter once it runs */
	BEHAVE_REFUSED_EARLY = 79, /* before its control socket is up */
	BEHAVE_OTHER =
	    80, /* is the first backend's program, whatever was chosen */
	BEHAVE_HALT = 81, /* its processor stands still once it ran */
};
#define LATE_MS 6000
#define HALT_MS 200

/* A filter that refuses next to nothing: read-back counts filters. */
int standin_filter(void);

#endif
