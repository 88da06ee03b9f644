#ifndef MEWS_ORCHD_TEXT_H
#define MEWS_ORCHD_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* A stranger's text as apid's tables take it: printable, cut to cap. */
void text_clean(char *dst, size_t cap, const char *src);
/* ipv4 in host order. */
void text_ipv4(uint32_t ipv4, char *buf, size_t len);
void text_mac(const uint8_t mac[6], char *buf, size_t len);

#endif
