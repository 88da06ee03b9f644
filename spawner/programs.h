#ifndef MEWS_SPAWNER_PROGRAMS_H
#define MEWS_SPAWNER_PROGRAMS_H

struct err;
struct spawner;

/* A folder that is root's, and writable by nobody else: names in it can be
 * trusted.  Its descriptor, or a negative errno and e. */
int programs_dir(const char *path, struct err *e);
/*
 * Start-up: the programs of all rows, in the staged tree.  A tree may be older
 * than the spawner and lack what a VM can be without: the file of such a
 * program stays {0}, and what needs it is refused.  Without a tree that can be
 * used no jail is made (stage_why), and those there are are served.
 */
void programs_find(struct spawner *sp);

#endif
