#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "agent/boot.h"
#include "agent/file.h"
#include "common/err.h"
#include "common/fds.h"
#include "proto/objects.h"

#define NS 1000000000L
#define SLEW_MAX_NS (20 * 1000000L)

static int
set_entropy(const struct boot_spec *spec, struct err *e)
{
	struct {
		int bits, bytes;
		uint8_t buf[sizeof(spec->entropy)];
	} pool = { (int)sizeof(spec->entropy) * 8, (int)sizeof(spec->entropy),
		{ 0 } };
	int fd, r = 0;

	_Static_assert(
	    sizeof(pool) == 8 + sizeof(spec->entropy), "struct rand_pool_info");
	memcpy(pool.buf, spec->entropy, sizeof(pool.buf));
	fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0)
		r = err_errno(e, -errno, "entropy");
	explicit_bzero(&pool, sizeof(pool));
	fd_close(&fd);
	return r;
}

static int
set_clock(const struct boot_spec *spec, struct err *e)
{
	struct timespec ts = { .tv_sec = spec->time_ns / 1000000000,
		.tv_nsec = spec->time_ns % 1000000000 };

	if (clock_settime(CLOCK_REALTIME, &ts) < 0)
		return err_errno(e, -errno, "clock");
	return 0;
}

int
boot_clock(int64_t ns, struct err *e)
{
	struct timex tx = { .modes = ADJ_OFFSET_SINGLESHOT };

	tx.offset = (long)(ns / 1000);
	if (ns > SLEW_MAX_NS || ns < -SLEW_MAX_NS) {
		/* seconds may be negative, what is added to them may not */
		tx = (struct timex){ .modes = ADJ_SETOFFSET | ADJ_NANO };
		tx.time.tv_sec = ns / NS;
		tx.time.tv_usec = ns % NS; /* of ADJ_NANO */
		if (tx.time.tv_usec < 0) {
			tx.time.tv_sec--;
			tx.time.tv_usec += NS;
		}
	}
	return adjtimex(&tx) < 0 ? err_errno(e, -errno, "clock") : 0;
}

/* The interface with this MAC: names depend on probe order. */
static int
find_nic(const char *mac, char name[IFNAMSIZ])
{
	struct dirent *d;
	DIR *dir;
	int r = -ENODEV;

	if ((dir = opendir("/sys/class/net")) == NULL)
		return -errno;
	while (r < 0 && (d = readdir(dir)) != NULL) {
		char path[300], text[64];

		if (strlen(d->d_name) >= IFNAMSIZ)
			continue;
		(void)snprintf(
		    path, sizeof(path), "/sys/class/net/%s/address", d->d_name);
		if (file_read(path, text, sizeof(text)) < 0)
			continue;
		text[strcspn(text, "\n")] = '\0';
		if (strcasecmp(text, mac) == 0) {
			(void)snprintf(name, IFNAMSIZ, "%.15s", d->d_name);
			r = 0;
		}
	}
	(void)closedir(dir);
	return r;
}

static int
nic_up(int s, const char *name)
{
	struct ifreq ifr = { 0 };

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_flags = IFF_UP;
	return ioctl(s, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

static int
nic_set(int s, const char *name, unsigned long what, struct in_addr addr)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = addr };
	struct ifreq ifr = { 0 };

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	memcpy(&ifr.ifr_addr, &sin, sizeof(sin));
	return ioctl(s, what, &ifr) < 0 ? -errno : 0;
}

static int
route_default(int s, struct in_addr gateway)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	struct sockaddr_in via = { .sin_family = AF_INET, .sin_addr = gateway };
	struct rtentry rt = { .rt_flags = RTF_UP | RTF_GATEWAY };

	memcpy(&rt.rt_dst, &any, sizeof(any));
	memcpy(&rt.rt_genmask, &any, sizeof(any));
	memcpy(&rt.rt_gateway, &via, sizeof(via));
	if (ioctl(s, SIOCADDRT, &rt) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static int
set_ipv4(int s, const struct boot_spec *spec, const char *nic)
{
	const struct boot_ipv4 *ip = &spec->ipv4;
	struct in_addr addr, mask, gw;
	int r;

	if (inet_pton(AF_INET, ip->address, &addr) != 1 || ip->prefix > 32)
		return -EINVAL;
	mask.s_addr =
	    ip->prefix == 0 ? 0 : htonl(UINT32_MAX << (32U - ip->prefix));
	if ((r = nic_set(s, nic, SIOCSIFADDR, addr)) < 0 ||
	    (r = nic_set(s, nic, SIOCSIFNETMASK, mask)) < 0 ||
	    (r = nic_up(s, nic)) < 0)
		return r;
	if (ip->gateway[0] == '\0')
		return 0;
	if (inet_pton(AF_INET, ip->gateway, &gw) != 1)
		return -EINVAL;
	return route_default(s, gw);
}

static int
set_network(const struct boot_spec *spec, struct err *e)
{
	char nic[IFNAMSIZ];
	int s, r;

	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return err_errno(e, -errno, "socket");
	if ((r = nic_up(s, "lo")) < 0) {
		(void)err_errno(e, r, "lo");
		goto out;
	}
	if (!(spec->has & TABLE_HAS(BOOT_IPV4)))
		goto out;
	if ((r = find_nic(spec->mac, nic)) < 0)
		(void)err_errno(e, r, "no NIC with MAC %s", spec->mac);
	else if ((r = set_ipv4(s, spec, nic)) < 0)
		(void)err_errno(e, r, "address of %s", nic);
out:
	fd_close(&s);
	return r;
}

int
boot_apply(const struct boot_spec *spec, struct err *e)
{
	int r;

	if ((r = set_entropy(spec, e)) < 0 || (r = set_clock(spec, e)) < 0)
		return r;
	if (sethostname(spec->hostname, strlen(spec->hostname)) < 0)
		return err_errno(e, -errno, "hostname");
	return set_network(spec, e);
}
