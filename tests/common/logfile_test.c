#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fds.h"
#include "common/logfile.h"
#include "common/util.h"
#include "tests/suite/t.h"

static char path[64];
static int dir;
static const struct logfile_conf small = {
	.max = 100, .rate = 1000, .burst = 1000, .mode = 0640
};

static struct logfile *
fresh(const struct logfile_conf *conf)
{
	struct logfile *lf = NULL;

	(void)snprintf(path, sizeof(path), "/tmp/logfile.XXXXXX");
	t_true(mkdtemp(path) != NULL);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t_eq(logfile_new(dir, "x.log", conf, &lf), 0);
	return lf;
}

static const char *
text_of(const char *name)
{
	static char text[8192];
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	fd_close(&fd);
	return n < 0 ? "(none)" : text;
}

static void
done(struct logfile *lf)
{
	static const char *const names[] = { "x.log", "x.log.1", "moved" };
	size_t i;

	logfile_free(lf);
	for (i = 0; i < nitems(names); i++) {
		(void)unlinkat(dir, names[i], 0);
		(void)unlinkat(dir, names[i], AT_REMOVEDIR);
	}
	t_eq(rmdir(path), 0);
	fd_close(&dir);
}

static void
test_rotates(void)
{
	struct logfile *lf = fresh(&small);
	struct stat st;
	char line[41];
	int i;

	memset(line, 'a', sizeof(line));
	line[39] = '\n';
	for (i = 0; i < 9; i++) {
		line[0] = (char)('0' + i);
		t_true(logfile_write(lf, line, 40, 0));
	}
	/* two a file: of nine lines the last three are there */
	t_eq(strlen(text_of("x.log")), 40);
	t_eq(text_of("x.log")[0], '8');
	t_eq(strlen(text_of("x.log.1")), 80);
	t_eq(text_of("x.log.1")[0], '6');
	t_eq(fstatat(dir, "x.log", &st, 0), 0);
	t_eq(st.st_mode & 07777, 0640);
	/* what is longer than a file is in no file whole, and none is longer */
	{
		char big[250];

		memset(big, 'b', sizeof(big));
		t_true(logfile_write(lf, big, sizeof(big), 0));
	}
	t_eq(strlen(text_of("x.log.1")), 100);
	t_eq(strlen(text_of("x.log")), 50);
	done(lf);
}

static void
test_budget(void)
{
	const struct logfile_conf conf = {
		.max = 5000, .rate = 100, .burst = 200, .mode = 0600
	};
	struct logfile *lf = fresh(&conf);
	char buf[150];

	memset(buf, 'a', sizeof(buf));
	t_true(logfile_write(lf, buf, sizeof(buf), 0));
	t_true(!logfile_write(lf, buf, sizeof(buf), 0));
	t_eq(strlen(text_of("x.log")), 200);
	t_true(!logfile_write(lf, buf, sizeof(buf), 10));
	t_eq(strlen(text_of("x.log")), 200);
	t_true(logfile_look(lf, 400)); /* 40 bytes: less than a quarter */
	t_eq(strlen(text_of("x.log")), 200);
	t_true(!logfile_look(lf, 600));
	t_str(text_of("x.log") + 200,
	    "\n[250 bytes lost: more than 100 a second]\n");
	t_true(logfile_write(lf, "b\n", 2, 600));
	t_str(strrchr(text_of("x.log"), ']'), "]\nb\n");
	/* never more than the burst, however long it was quiet */
	t_true(logfile_write(lf, buf, 100, INT64_MAX));
	t_true(!logfile_write(lf, buf, 150, INT64_MAX));
	/* last words go past it, and so does what was lost before them */
	logfile_write_last(lf, "end\n", 4, INT64_MAX);
	t_true(strstr(text_of("x.log"),
		   " lost: more than 100 a second]\nend\n") != NULL);
	done(lf);
}

static void
test_not_a_file(void)
{
	struct logfile *lf = fresh(&small);
	struct err e;

	t_row("a FIFO");
	t_eq(mkfifoat(dir, "x.log", 0600), 0);
	t_true(!logfile_write(lf, "lost\n", 5, 0));
	t_eq(logfile_fault(lf, &e), -EINVAL);
	t_str(e.msg, "x.log: not a regular file: it must be moved away");
	t_eq(unlinkat(dir, "x.log", 0), 0);
	t_true(logfile_look(lf, 500));
	t_true(!logfile_look(lf, 1000));
	t_eq(logfile_fault(lf, NULL), 0);
	t_str(text_of("x.log"),
	    "[5 bytes lost: x.log: not a regular file: it must be moved "
	    "away]\n");

	t_row("a link");
	t_eq(unlinkat(dir, "x.log", 0), 0);
	t_eq(symlinkat("moved", dir, "x.log"), 0);
	t_true(!logfile_write(lf, "lost\n", 5, 2000));
	t_str(text_of("moved"), "(none)");
	t_eq(unlinkat(dir, "x.log", 0), 0);
	t_true(!logfile_look(lf, 3000));

	t_row("NAME.1 is a folder");
	t_eq(mkdirat(dir, "x.log.1", 0700), 0);
	t_true(!logfile_write(lf,
	    "0123456789012345678901234567890123456789"
	    "01234567890123456789012345678901234567890\n",
	    82, 3000));
	t_eq(logfile_fault(lf, &e), -EISDIR);
	t_str(e.msg, "x.log.1: Is a directory");
	done(lf);
}

static void
test_moved(void)
{
	struct logfile *lf = fresh(&small);

	t_true(logfile_write(lf, "one\n", 4, 0));
	t_eq(renameat(dir, "x.log", dir, "moved"), 0);
	t_true(logfile_write(lf, "two\n", 4, 10)); /* not looked again yet */
	t_true(logfile_write(lf, "three\n", 6, 1000));
	t_str(text_of("moved"), "one\ntwo\n");
	t_str(text_of("x.log"), "three\n");
	t_eq(truncate("/dev/null", 0), -1);
	(void)unlinkat(dir, "x.log", 0);
	t_true(logfile_write(lf, "four\n", 5, 2000));
	t_str(text_of("x.log"), "four\n");
	done(lf);
}

/* A folder that is not there; then one that is. */
static void
test_no_folder(void)
{
	struct logfile *lf = fresh(&small);
	struct err e;

	logfile_set_dir(lf, -1);
	t_true(!logfile_write(lf, "lost\n", 5, 0));
	t_eq(logfile_fault(lf, &e), -EBADF);
	logfile_set_dir(lf, dir);
	t_true(logfile_write(lf, "here\n", 5, 0));
	t_true(strstr(text_of("x.log"), "[5 bytes lost: ") != NULL);
	t_true(strstr(text_of("x.log"), "]\nhere\n") != NULL);
	done(lf);
}

/* The file system takes no more, as on a full disk. */
static void
test_full(void)
{
	const struct rlimit eight = { 8, RLIM_INFINITY },
			    none = { RLIM_INFINITY, RLIM_INFINITY };
	struct sigaction ign = { .sa_handler = SIG_IGN };
	struct logfile *lf = fresh(&small);
	struct err e;

	(void)sigaction(SIGXFSZ, &ign, NULL);
	t_eq(setrlimit(RLIMIT_FSIZE, &eight), 0);
	t_true(!logfile_write(lf, "0123456789", 10, 0));
	t_eq(logfile_fault(lf, &e), -EFBIG);
	/* it can be opened again, which mends nothing */
	t_true(logfile_look(lf, 1000));
	t_eq(logfile_fault(lf, &e), -EFBIG);
	t_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	t_true(!logfile_look(lf, 2000));
	t_eq(logfile_fault(lf, NULL), 0);
	t_str(text_of("x.log"),
	    "01234567\n[2 bytes lost: x.log: File too large]\n");
	done(lf);
}

static void
test_torture(void)
{
	struct logfile *lf = NULL;

	t_fail_alloc(1);
	t_eq(logfile_new(-1, "x", &small, &lf), -ENOMEM);
	t_true(t_alloc_failed());
	t_fail_alloc(0);
	t_eq(logfile_new(-1,
		 "a name that is longer than a name may be, which is not long "
		 "at all",
		 &small, &lf),
	    -ENAMETOOLONG);
	t_true(lf == NULL);
	logfile_free(NULL);
}

const struct t_case t_cases[] = {
	{ "rotates", test_rotates },
	{ "budget", test_budget },
	{ "not-a-file", test_not_a_file },
	{ "moved", test_moved },
	{ "no-folder", test_no_folder },
	{ "full", test_full },
	{ "torture", test_torture },
	{ NULL, NULL },
};
