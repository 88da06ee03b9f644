#ifndef MEWS_TESTS_FAULT_VFS_H
#define MEWS_TESTS_FAULT_VFS_H

/*
 * A file system for SQLite that fails when it is told to, over the real one
 * (https://www.sqlite.org/vfs.html); of tests alone.  It knows of each file
 * what was synced, so the power can go: what was only written is then lost, or
 * some sectors of it are.  Nothing is synced for real.
 */
enum fault {
	FAULT_NONE,
	FAULT_ERROR, /* that call fails, once */
	FAULT_FULL, /* the same, for want of space */
	FAULT_POWER /* that call and all that follow fail */
};

/* Becomes the process's default; once. */
void fault_init(void);
/* The nth call from now on (1: the next) that changes a file. */
void fault_set(enum fault how, unsigned int nth);
/* Such calls since then. */
unsigned int fault_calls(void);
/* Each sync takes so long; 0: none. */
void fault_delay(unsigned int ms);
/* Syncs under way, and those that are over. */
unsigned int fault_syncing(void);
unsigned int fault_synced(void);
/*
 * The power is back, with every file closed: they are as the disk has them.
 * seed 0: nothing of what was not synced; else which sectors of it.
 */
void fault_power_back(unsigned int seed);
/* Nothing is known of any file; no fault is set. */
void fault_forget(void);

#endif
