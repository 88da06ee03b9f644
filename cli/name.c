#include <stdio.h>
#include <string.h>

#include "cli/name.h"

#define STEM_MAX (NAME_LEN_MAX - 5)

static int
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9');
}

void
name_from_image(const char *image, uint16_t salt, char name[NAME_LEN_MAX + 1])
{
	const char *slash = strrchr(image, '/');
	const char *p = slash == NULL ? image : slash + 1;
	char stem[STEM_MAX + 1];
	size_t n = 0;

	for (; *p != '\0' && *p != ':' && *p != '@' && n < STEM_MAX; p++) {
		if (is_word(*p))
			stem[n++] = *p;
		else if (n > 0 && stem[n - 1] != '-')
			stem[n++] = '-';
	}
	while (n > 0 && stem[n - 1] == '-')
		n--;
	stem[n] = '\0';
	(void)snprintf(
	    name, NAME_LEN_MAX + 1, "%s-%04x", n == 0 ? "vm" : stem, salt);
}
