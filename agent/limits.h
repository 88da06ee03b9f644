#ifndef MEWS_AGENT_LIMITS_H
#define MEWS_AGENT_LIMITS_H

struct err;

/*
 * What the workload as a whole may take of the guest, by what was left when
 * the guest had booted.  The rest is the agent's, and one exec's that has to
 * get in when the workload has taken all of its own.  What stays behind when
 * nobody lives any more (files in memory, System V IPC) is less than the
 * memory: so whatever fills that, there is somebody to end for it.
 */
struct limits {
	long long own; /* bytes, the agent's and the kernel's */
	long long mem; /* bytes */
	long long reserve; /* bytes, of that one exec */
	long long
	    fs; /* bytes of / and /dev/shm together; inodes are fs_nodes */
	long long fs_nodes;
	long long shm; /* pages of System V shared memory */
	long long pids;
	long long reserve_pids;
	long long
	    files; /* RLIMIT_NOFILE of each process, which it cannot lift */
	long long ptys;
};

/* left: bytes available, threads: kernel.threads-max.  0, or -ENOMEM with e:
 * the guest is too small. */
int limits_of(
    long long left, long long threads, struct limits *ret, struct err *e);
/* Of this guest, now. */
int limits_find(struct limits *ret, struct err *e);
/* In a new ipc namespace: bounds what of it outlives processes. */
void limits_ipc(const struct limits *l);

#endif
