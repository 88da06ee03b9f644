#ifndef MEWS_CLI_NAME_H
#define MEWS_CLI_NAME_H

#include <stdint.h>

#include "common/name.h"

/* IMAGE-<4 hex>: the last part of the reference, without tag and digest. */
void name_from_image(
    const char *image, uint16_t salt, char name[NAME_LEN_MAX + 1]);

#endif
