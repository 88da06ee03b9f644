#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/loop.h"
#include "common/util.h"
#include "mewsd/begin.h"
#include "mewsd/mewsd.h"
#include "mewsd/notify.h"

/* Bytes a second of standard error, whose reader is not ours, and at once. */
#define STDERR_RATE 8192
#define STDERR_BURST (256 << 10)
#define DEFAULT_CONF "/etc/mews/mews.conf"

static void
on_signal(int sig, short what, void *arg)
{
	struct mewsd *m = arg;

	(void)what;
	if (sig == SIGCHLD) {
		rooms_reap(m);
		return;
	}
	if (sig == SIGHUP) {
		log_info("SIGHUP: configuration is read at start only");
		return;
	}
	log_info("stopping on signal %d; VMs run on", sig);
	notify_send("STOPPING=1");
	rooms_stop(m);
}

static void
signals(struct mewsd *m)
{
	static const int wanted[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	size_t i;

	for (i = 0; i < nitems(wanted); i++) {
		m->sig[i] = evsignal_new(m->base, wanted[i], on_signal, m);
		if (m->sig[i] == NULL || event_add(m->sig[i], NULL) < 0)
			fatal("signal %d", wanted[i]);
	}
}

/* The rooms' programs lie beside mewsd's own. */
static int
bindir_open(void)
{
	char path[PATH_MAX] = { 0 };
	char *slash;
	int fd;

	if (readlink("/proc/self/exe", path, sizeof(path) - 1) < 0)
		fatal("/proc/self/exe: %m");
	if ((slash = strrchr(path, '/')) != NULL)
		*slash = '\0';
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fatal("%s: %m", path);
	return fd;
}

static _Noreturn void
usage(FILE *to, int status)
{
	(void)fprintf(to,
	    "usage: mewsd [-n | --check-store[=FILE]] [-f CONF] [-r DIR]\n"
	    "  -f CONF  configuration (%s)\n"
	    "  -n       check the configuration and exit\n"
	    "  -r DIR   keep state, run and log folders below "
	    "DIR\n"
	    "  --check-store[=FILE]  look at the store, which a suite may be "
	    "at, or at a\n"
	    "           backup of one, say what is wrong with it, and exit\n"
	    "Runs in the foreground and makes a bridge and nf_tables tables "
	    "of its\nown in the network namespace it is started in.\n",
	    DEFAULT_CONF);
	exit(status);
}

int
main(int argc, char *argv[])
{
	static struct mewsd m = { .bindir = -1, .lock = -1, .listener = -1 };
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "check-store", optional_argument, NULL, 'c' },
		{ 0 },
	};
	const char *conf = DEFAULT_CONF, *root = NULL, *file = NULL;
	struct err e;
	bool check = false, check_store = false;
	int ch;

	begin_clean();
	log_init("mewsd", LOG_INFO);
	while ((ch = getopt_long(argc, argv, "f:hnr:", longs, NULL)) != -1) {
		switch (ch) {
		case 'f':
			conf = optarg;
			break;
		case 'n':
			check = true;
			break;
		case 'c':
			check_store = true;
			file = optarg;
			break;
		case 'r':
			root = optarg;
			break;
		case 'h':
			usage(stdout, 0);
		default:
			usage(stderr, 2);
		}
	}
	if (!check)
		log_never_wait(STDERR_RATE, STDERR_BURST);
	if (optind != argc || (check && check_store))
		usage(stderr, 2);
	if (geteuid() != 0)
		fatal("mewsd must be started by root: it gives each room the "
		      "one privilege it needs, and keeps none of yours");
	if (conf_load(conf, root, &m.conf, &e) < 0)
		fatal("%s", e.msg);
	if (check && conf_host_stage(&m.conf, &e) < 0)
		fatal("%s: %s", conf, e.msg);
	if (check) {
		(void)printf("%s: good\n", conf);
		return 0;
	}
	if (check_store) {
		m.bindir = bindir_open();
		return check_run(&m, file);
	}
	log_init("mewsd", m.conf.log_level);
	log_never_wait(STDERR_RATE, STDERR_BURST);
	begin_limits();
	notify_init();
	m.bindir = bindir_open();
	if (root != NULL && mkdir(root, 0755) < 0 && errno != EEXIST)
		fatal("mkdir %s: %m", root);
	dirs_make(&m.conf);
	m.lock = lock_take(&m.conf);
	claims_take(&m.conf);
	m.listener = dirs_listen(&m.conf);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		fatal("subreaper: %m");
	mewsd_confine();
	m.base = loop_new();
	signals(&m);
	rooms_start(&m);
	if (event_base_dispatch(m.base) < 0)
		fatal("event loop");
	log_info("stopped");
	return 0;
}
