#include <arpa/inet.h>
#include <stdio.h>

#include "orchd/text.h"

void
text_clean(char *dst, size_t cap, const char *src)
{
	size_t n = 0;

	for (; *src != '\0' && n + 1 < cap; src++)
		dst[n++] = (char)(*src >= 0x20 && *src < 0x7f ? *src : '?');
	dst[n] = '\0';
}

void
text_ipv4(uint32_t ipv4, char *buf, size_t len)
{
	const struct in_addr in = { .s_addr = htonl(ipv4) };

	(void)inet_ntop(AF_INET, &in, buf, (socklen_t)len);
}

void
text_mac(const uint8_t mac[6], char *buf, size_t len)
{
	(void)snprintf(buf, len, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0],
	    mac[1], mac[2], mac[3], mac[4], mac[5]);
}
