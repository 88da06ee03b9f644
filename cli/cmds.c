#include <string.h>

#include "cli/cmds.h"

const char cmds_head[] =
    "usage: mews [--json] [-H unix:///PATH] COMMAND [ARG...]\n"
    "\n"
    "Runs microVMs.  Commands:\n"
    "\n";
const char cmds_tail[] =
    "\n"
    "  --json          for programs: JSON on stdout, errors as JSON on stderr\n"
    "  -H, --host URL  where the API is: unix:///run/mews/api.sock, $MEWS_API\n"
    "  -v, --version\n"
    "\n"
    "A VM goes by its name or the beginning of its uid.\n"
    "Exit status: the command's own; 125 when mews itself fails, 126 and 127\n"
    "when the command cannot be run or found, 128 + n after signal n.\n"
    "`mews help COMMAND` says more.\n";

const struct cmd cmds[] = {
	{ "run", cmd_run,
	    "[-d] [--name N] [--rm] [--cpus N] [-m SIZE] [-e NAME[=VALUE]]...\n"
	    "           [--env-file FILE] [--kernel-cmdline TEXT] [-t] IMAGE [CMD ARG...]",
	    "Makes a VM and runs a command in it",
	    "  -d, --detach       return once the VM is ready, print its name\n"
	    "  --name NAME        default: IMAGE-<4 hex digits>\n"
	    "  --rm               remove the VM when the command has ended\n"
	    "  --cpus N           default: 1\n"
	    "  -m, --memory SIZE  256, 256m (MiB), 1g; default: 256m\n"
	    "  -e, --env NAME[=VALUE]  without a value: this shell's own, so\n"
	    "                     that it is on no command line\n"
	    "  --env-file FILE    lines of NAME=VALUE or NAME; # begins a "
	    "comment\n"
	    "  --kernel-cmdline TEXT  more arguments for the guest's kernel\n"
	    "  -t, --tty          the command gets a terminal\n"
	    "\n"
	    "The command has this terminal's input and output, and its exit\n"
	    "status is ours.  The VM stays unless --rm.  Without a command: a\n"
	    "shell on a terminal, else as -d.  Ctrl-C ends the command (and\n"
	    "with --rm the VM); another one gives up.\n"
	    "\n"
	    "  mews run --rm busybox uname -a\n"
	    "  mews run -d --name web -m 512m -e PASSWORD busybox\n" },
	{ "ps", cmd_ps, "[-a] [-q]", "Lists VMs",
	    "  -a, --all    those that are stopped or crashed, too\n"
	    "  -q, --quiet  only their uids\n"
	    "\n"
	    "  mews ps -a\n"
	    "  mews rm $(mews ps -aq)\n" },
	{ "exec", cmd_exec,
	    "[-i] [-t] [-w DIR] [-e NAME[=VALUE]]... [--env-file FILE]\n"
	    "            VM CMD [ARG...]",
	    "Runs a command in a VM",
	    "  -i, --interactive  with standard input\n"
	    "  -t, --tty          with a terminal\n"
	    "  -w, --workdir DIR  where it starts\n"
	    "  -e, --env NAME[=VALUE], --env-file FILE  as for `mews run`\n"
	    "\n"
	    "  mews exec web uname -a\n"
	    "  mews exec -it web sh\n"
	    "  mews exec -i web sh -c 'cat > /tmp/x' < x\n" },
	{ "logs", cmd_logs, "--console [-f] [--raw] VM",
	    "Shows what a VM wrote",
	    "  --console     to its console (the only log so far)\n"
	    "  -f, --follow  and what it writes from now on\n"
	    "  --raw         on a terminal, too, as it is: a guest can then do\n"
	    "                what it likes to your terminal\n"
	    "\n"
	    "  mews logs --console web\n" },
	{ "start", cmd_start, "[--no-wait] VM...", "Starts stopped VMs",
	    "  --no-wait  do not wait until they are ready\n"
	    "\n"
	    "  mews start web db\n" },
	{ "stop", cmd_stop, "[--no-wait] VM...", "Stops VMs",
	    "  --no-wait  do not wait until they are down\n"
	    "\n"
	    "  mews stop web db\n" },
	{ "rm", cmd_rm, "[-f] [--no-wait] VM...", "Removes VMs",
	    "  -f, --force  running ones, too; what is not there is no error\n"
	    "  --no-wait    do not wait until they are gone\n"
	    "\n"
	    "  mews rm -f web\n" },
	{ "inspect", cmd_inspect, "VM...", "Shows all that is known of VMs",
	    "A JSON list, in the order of the names.\n"
	    "\n"
	    "  mews inspect web\n" },
	{ "console", cmd_console, "VM", "Connects to the console of a VM",
	    "Ctrl-] then . leaves; Ctrl-] twice sends one.\n"
	    "\n"
	    "  mews console web\n" },
	{ "events", cmd_events, "", "Shows what happens to VMs, as it happens",
	    "With --json: one object a line.\n"
	    "\n"
	    "  mews events\n" },
	{ "doctor", cmd_doctor, "", "Says what this host can do",
	    "Exit status 1 when a check fails.\n"
	    "\n"
	    "  mews doctor\n" },
	{ "version", NULL, "", "Shows the version of this program",
	    "  mews version\n" },
	{ "help", NULL, "[COMMAND]", "Shows this, or how to use a command",
	    "  mews help run\n" },
	{ 0 },
};

const struct cmd *
cmds_find(const char *name)
{
	const struct cmd *cmd;

	for (cmd = cmds; cmd->name != NULL; cmd++) {
		if (strcmp(cmd->name, name) == 0)
			return cmd;
	}
	return NULL;
}
