#ifndef MEWS_SPAWNER_LOAD_H
#define MEWS_SPAWNER_LOAD_H

struct spawner;

/* Start-up: every folder in run/vm is a jail, whatever its record is like. */
void load_held(struct spawner *sp);

#endif
