#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/fds.h"
#include "orchd/orchd.h"
#include "orchd/text.h"
#include "orchd/vm/bootspec.h"
#include "orchd/vm/vm.h"
#include "proto/jbuf.h"

/* env escaped to the utmost, and the rest */
#define SPEC_MAX (6 * ENV_BYTES_MAX + 16384)

/* As Volant does: lower case, letters, digits and dashes, else "vm". */
static void
hostname_from(const char *name, char *dst, size_t cap)
{
	size_t n = 0;

	for (; *name != '\0' && n + 1 < cap; name++) {
		char c = *name;

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		    (c == '-' && n > 0))
			dst[n++] = c;
	}
	while (n > 0 && dst[n - 1] == '-')
		n--;
	dst[n] = '\0';
	if (n == 0)
		(void)snprintf(dst, cap, "vm");
}

static int
fill(const struct vm *vm, struct boot_spec *s)
{
	const struct orchd_conf *conf = &vm->obj.orchd->conf;
	const char *host = vm->request.hostname;
	const char *e;
	int r;

	s->version = BOOT_SPEC_VERSION;
	s->uid = vm->row.vmid;
	hostname_from(host[0] != '\0' ? host : vm->row.name, s->hostname,
	    sizeof(s->hostname));
	(void)snprintf(s->image, sizeof(s->image), "%s", vm->request.image);
	s->has |= TABLE_HAS(BOOT_IPV4);
	text_ipv4(vm->row.ipv4, s->ipv4.address, sizeof(s->ipv4.address));
	text_ipv4(conf->gateway, s->ipv4.gateway, sizeof(s->ipv4.gateway));
	s->ipv4.prefix = (uint8_t)conf->prefix;
	text_mac(vm->row.mac, s->mac, sizeof(s->mac));
	for (e = strs_next(&vm->request.env, NULL); e != NULL;
	     e = strs_next(&vm->request.env, e)) {
		r = strs_add(&s->env, e, strlen(e), ENV_MAX, ENV_BYTES_MAX);
		if (r < 0)
			return r;
	}
	s->time_ns = clock_wall_ns();
	if (getrandom(s->entropy, sizeof(s->entropy), 0) !=
		sizeof(s->entropy) ||
	    getrandom(s->key, sizeof(s->key), 0) != sizeof(s->key))
		return -EIO;
	return 0;
}

int
bootspec_fd(const struct vm *vm)
{
	struct boot_spec spec = { 0 };
	struct jbuf b;
	int r;

	jbuf_init(&b, SPEC_MAX);
	r = fill(vm, &spec);
	if (r == 0) {
		table_encode(&boot_spec_table, TABLE_SECRETS, &spec, &b);
		r = b.r;
	}
	if (r == 0)
		r = memfd_sealed("boot-spec", b.p, b.len);
	table_clear(&boot_spec_table, &spec);
	jbuf_free(&b);
	return r;
}
