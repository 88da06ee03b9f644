#ifndef MEWS_BACKUP_H
#define MEWS_BACKUP_H

struct backup;

/* A backup of the store on its way to who asked for it.  NULL is fine. */
void backup_free(struct backup *b);

#endif
