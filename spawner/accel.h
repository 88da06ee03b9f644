#ifndef MEWS_SPAWNER_ACCEL_H
#define MEWS_SPAWNER_ACCEL_H

#include <stdint.h>

struct spawner;

/*
 * What the accelerator probe found, kept in lib/vm/accel: true for one boot
 * of the host and one staged tree (kernel and hypervisor are in its name).
 */
void accel_load(struct spawner *sp);
int accel_save(const struct spawner *sp, uint32_t accel);

#endif
