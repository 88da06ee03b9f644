#include <stdbool.h>
#include <string.h>

#include "agent/oom.h"
#include "tests/suite/t.h"

#define HEAD "3,517,5424840,-;"
#define TAIL " total-vm:26248kB, anon-rss:23916kB\n"
#define GROUP HEAD "Memory cgroup out of memory: Killed process "

static const struct {
	const char *name, *record, *last;
	bool is;
} rows[] = {
	{ "at the workload's limit", GROUP "91 (tail)" TAIL, "tail, process 91",
	    true },
	{ "at the guest's", HEAD "Out of memory: Killed process 80 (init)" TAIL,
	    "init, process 80", true },
	{ "a name with brackets", GROUP "7 (a) (b)" TAIL, "a) (b, process 7",
	    true },
	{ "a name of quotes", GROUP "7 (\"\\x22)" TAIL, "??x22, process 7",
	    true },
	{ "a long name",
	    GROUP "12345678901 (0123456789012345678901234567890123456789)" TAIL,
	    "0123456789012345678901234567890, process 12345678", true },
	{ "no name", GROUP "91" TAIL, "", true },
	{ "no process", GROUP, "", true },
	{ "another record",
	    HEAD "usb: out of memory: Killed process 1 (a)" TAIL, "", false },
	{ "a word inside", HEAD "x Out of memory: Killed process 1 (a)" TAIL,
	    "", false },
	{ "empty", "", "", false },
};

static void
every_row(void)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct oom o = { .kills = 5 };

		t_row(rows[i].name);
		t_eq(oom_read(&o, rows[i].record), rows[i].is);
		t_eq(o.kills, rows[i].is ? 6 : 5);
		t_true(strncmp(o.last, rows[i].last, sizeof(o.last) - 1) == 0);
	}
}

const struct t_case t_cases[] = { { "records of the kernel's log", every_row },
	{ NULL, NULL } };
