#include <string.h>

#include "cli/cmds.h"

const char cmds_head[] =
    "usage: mews [--json] [-H unix:///PATH] [--tenant NAME] COMMAND [ARG...]\n"
    "\n"
    "Runs microVMs.  Commands:\n"
    "\n";
const char cmds_tail[] =
    "\n"
    "  --json          for programs: JSON on stdout, errors as JSON on stderr\n"
    "  -H, --host URL  where the API is: unix:///run/mews/api.sock, $MEWS_API\n"
    "  --tenant NAME   whose VMs: $MEWS_TENANT, else your own\n"
    "  -v, --version\n"
    "\n"
    "A VM goes by its name or the beginning of its uid.  An option without a\n"
    "value may be written --NAME=true or --NAME=false.\n"
    "Exit status: the command's own; 125 when mews itself fails, 126 and 127\n"
    "when the command cannot be run or found, 128 + n after signal n, 1 when\n"
    "what it has to say cannot be written.\n"
    "`mews help COMMAND` says more.\n";

const struct cmd cmds[] = {
	{ "run", cmd_run,
	    "[-d] [-i] [-t] [--name N] [--rm] [--cpus N] [-m SIZE]\n"
	    "           [-e NAME[=VALUE]]... [--env-file FILE] [-w DIR] [--hostname N]\n"
	    "           [--kernel-cmdline TEXT] IMAGE [--] [CMD ARG...]",
	    "Makes a VM and runs a command in it",
	    "  -d, --detach       return once the VM is ready, print its name\n"
	    "  -i, --interactive  the command gets standard input\n"
	    "  -t, --tty          the command gets a terminal\n"
	    "  --name NAME        default: IMAGE-<4 hex digits>\n"
	    "  --rm               remove the VM when the command has ended, when\n"
	    "                     it did not start, and when mews was killed\n"
	    "  --cpus N           default: 1\n"
	    "  -m, --memory SIZE  256, 256m (MiB), 1g; default: 256m\n"
	    "  -e, --env NAME[=VALUE]  without a value: this shell's own, so\n"
	    "                     that it is on no command line\n"
	    "  --env-file FILE    lines of NAME=VALUE or NAME; # begins a "
	    "comment\n"
	    "  -w, --workdir DIR  where the command starts\n"
	    "  --hostname NAME    default: made from the VM's name\n"
	    "  --kernel-cmdline TEXT  more arguments for the guest's kernel\n"
	    "\n"
	    "IMAGE is busybox: there is no other so far.\n"
	    "\n"
	    "The command has this terminal's output, and its exit status is\n"
	    "ours; standard input is left alone without -i.  The VM stays\n"
	    "unless --rm.  Without a command: a shell on a terminal, else as\n"
	    "-d.  Ctrl-C ends the command (and with --rm the VM); another one\n"
	    "gives up.  With -t, it is first the command's to take.\n"
	    "\n"
	    "  mews run --rm busybox uname -a\n"
	    "  mews run --rm -it busybox\n"
	    "  mews run --rm -i busybox sh < script\n"
	    "  mews run -d --name web -m 512m -e PASSWORD busybox\n" },
	{ "ps", cmd_ps,
	    "[-a] [-q] [-n N] [--format TEXT] [--filter COLUMN=PATTERN]...",
	    "Lists VMs",
	    "  -a, --all        those that are stopped or crashed, too\n"
	    "  -q, --quiet      only their uids\n"
	    "  -n, --last N     only the N that were made last, in any state\n"
	    "  --format TEXT    a line of TEXT for each, with {COLUMN} in it;\n"
	    "                   \\t, \\n and {{ stand for a tab, a line feed, a {\n"
	    "  --filter COLUMN=PATTERN  only those that fit; * and ? as in a\n"
	    "                   shell.  Of one column any, of several all.\n"
	    "                   With status or state, -a is not needed.\n"
	    "\n"
	    "Columns: name uid short image status reason state ready cpus memory\n"
	    "ip mac up age pid exit accel tenant cmdline.  short is the beginning\n"
	    "of the uid, state is status and reason, up is how long it runs, exit\n"
	    "the exit status of what it ran last, accel kvm or tcg.\n"
	    "\n"
	    "  mews ps -a\n"
	    "  mews ps --filter status=crashed --filter 'name=web-*'\n"
	    "  mews ps --format '{name}\\t{ip}'\n"
	    "  mews rm $(mews ps -aq)\n" },
	{ "exec", cmd_exec,
	    "[-d] [-i] [-t] [-u USER[:GROUP]] [-w DIR] [-e NAME[=VALUE]]...\n"
	    "            [--env-file FILE] VM [--] CMD [ARG...]",
	    "Runs a command in a VM",
	    "  -d, --detach       it goes on by itself: prints its process's "
	    "number\n"
	    "                     in the VM; what it says is in the VM's log\n"
	    "  -i, --interactive  with standard input\n"
	    "  -t, --tty          with a terminal\n"
	    "  -u, --user USER[:GROUP]  as whom: names that the VM knows, or\n"
	    "                     numbers; default: root\n"
	    "  -w, --workdir DIR  where it starts; default: the user's home\n"
	    "  -e, --env NAME[=VALUE], --env-file FILE  as for `mews run`\n"
	    "\n"
	    "With -it every key is the command's.  With -t alone, Ctrl-C and\n"
	    "Ctrl-\\ go to the command; twice within a second ends it from here.\n"
	    "\n"
	    "  mews exec web uname -a\n"
	    "  mews exec -it web sh\n"
	    "  mews exec -w /tmp -u nobody web -- ls -l\n"
	    "  mews exec -d web httpd -f -p 8080\n"
	    "  mews exec -i web sh -c 'cat > /tmp/x' < x\n" },
	{ "logs", cmd_logs,
	    "--console|--vmm [-f] [-n LINES] [--since WHEN] [--raw] VM",
	    "Shows what a VM wrote",
	    "  --console        to its console\n"
	    "  --vmm            what its hypervisor, and what serves it, said\n"
	    "  -f, --follow     and what it writes from now on\n"
	    "  -n, --tail LINES  only the last LINES of what it wrote\n"
	    "  --since WHEN     only what came since then: so long ago (90s, 10m,\n"
	    "                   1h30m, 2d), or at a time (2026-11-29T07:30:00Z);\n"
	    "                   some of what came just before may be shown, too\n"
	    "  --raw            on a terminal, too, as it is: a guest can then\n"
	    "                   do what it likes to your terminal\n"
	    "\n"
	    "  mews logs --console web\n"
	    "  mews logs --console -n 20 -f web\n"
	    "  mews logs --console --since 10m web\n" },
	{ "start", cmd_start, "[--no-wait] VM...", "Starts stopped VMs",
	    "  --no-wait  do not wait until they are ready\n"
	    "\n"
	    "  mews start web db\n" },
	{ "stop", cmd_stop, "[-t SECONDS] [--no-wait] VM...", "Stops VMs",
	    "  -t, --time SECONDS  so long a guest may take to end by itself, 0\n"
	    "                to 3600; then its hypervisor is ended.  Default: as\n"
	    "                mews.conf says\n"
	    "  --no-wait     do not wait until they are down\n"
	    "\n"
	    "Its commands hear TERM first.  Of one that stops already, -t counts\n"
	    "from now.\n"
	    "\n"
	    "  mews stop web db\n"
	    "  mews stop -t 120 db\n" },
	{ "restart", cmd_restart, "[-t SECONDS] [--no-wait] VM...",
	    "Stops VMs and starts them again",
	    "  -t, --time SECONDS  as for `mews stop`\n"
	    "  --no-wait     do not wait until they are ready\n"
	    "\n"
	    "One that is stopped or crashed is started.\n"
	    "\n"
	    "  mews restart web db\n" },
	{ "kill", cmd_kill, "[-s SIGNAL] VM...",
	    "Sends a signal to the commands of VMs",
	    "  -s, --signal SIGNAL  HUP, SIGHUP or 1; default: KILL\n"
	    "\n"
	    "It goes to all that `mews run` and `mews exec` started there and\n"
	    "that has not ended: each command with its process group; KILL ends\n"
	    "what it left behind, too.  The VM itself goes on: `mews stop` ends\n"
	    "it.\n"
	    "\n"
	    "  mews kill -s HUP web\n" },
	{ "wait", cmd_wait, "[--for down|ready|gone] [--timeout SECONDS] VM...",
	    "Waits until VMs are down, ready or gone",
	    "  --for down|ready|gone  default: down, which is stopped or crashed\n"
	    "  --timeout SECONDS      exit status 125 when it takes longer\n"
	    "\n"
	    "  mews start --no-wait web db && mews wait --for ready web db\n" },
	{ "rename", cmd_rename, "VM NAME", "Gives a VM another name",
	    "It may run meanwhile; its guest's host name changes with the next\n"
	    "start.  Prints the new name.\n"
	    "\n"
	    "  mews rename web web-old\n" },
	{ "rm", cmd_rm, "[-f] [--no-wait] VM...", "Removes VMs",
	    "  -f, --force  running ones, too; what is not there is no error\n"
	    "  --no-wait    do not wait until they are gone\n"
	    "\n"
	    "  mews rm -f web\n" },
	{ "inspect", cmd_inspect, "VM...", "Shows all that is known of VMs",
	    "A JSON list, in the order of the names.\n"
	    "\n"
	    "  mews inspect web db\n" },
	{ "console", cmd_console, "VM", "Connects to the console of a VM",
	    "Ctrl-] then . leaves; Ctrl-] twice sends one.\n"
	    "\n"
	    "  mews console web\n" },
	{ "events", cmd_events, "", "Shows what happens to VMs, as it happens",
	    "With --json: one object a line.\n"
	    "\n"
	    "  mews events\n" },
	{ "tenant", cmd_tenant,
	    "ls\n"
	    "       mews tenant show [NAME]\n"
	    "       mews tenant create|set [--quota WHAT=N]...\n"
	    "           [--user USER[:ROLE]]... [--group GROUP[:ROLE]]...\n"
	    "           [--weight N] [--suspend|--resume] NAME\n"
	    "       mews tenant rm [-f] NAME",
	    "Says who is in a tenant, and what that may have",
	    "  --quota WHAT=N[,WHAT=N]...  the most that it may have; 0: as much as\n"
	    "                    the host lets it.  vms, cpus, memory (2g), of all its\n"
	    "                    VMs; at once: operations, streams (commands, consoles,\n"
	    "                    logs), readers (of events); requests a second\n"
	    "  --user, --group NAME[:ROLE]  comes, or has another role: viewer,\n"
	    "                    operator (default), admin; none: goes\n"
	    "  --weight N        1 (as it comes) to 100: its turns for one of a tenant\n"
	    "                    of weight 1, where both wait to start VMs\n"
	    "  --suspend, --resume  its members may only look; and do as before\n"
	    "  -f, --force       rm: with all that it has\n"
	    "\n"
	    "VMs and events belong to a tenant, and names count in it: who is in\n"
	    "none of another knows nothing of that.  A viewer looks, an operator has\n"
	    "VMs, an admin says who is in it.  What it may have, and whether it is\n"
	    "there, is said by host admins: root, and the admins of mews.conf.  The\n"
	    "users of mews.conf are operators of the tenant default.\n"
	    "\n"
	    "  mews tenant create --quota vms=10,memory=16g --group dev team\n"
	    "  mews tenant set --user alice:admin --user bob:none team\n"
	    "  mews --tenant team ps\n"
	    "  mews tenant show team\n"
	    "  mews tenant rm team\n" },
	{ "audit", cmd_audit,
	    "[--since WHEN] [--verify] [--head TENANT:ROW:HASH]",
	    "Says who did what, or was not let",
	    "  --since WHEN  90s, 10m, 2h, 3d ago, or an RFC 3339 time\n"
	    "  --verify      show nothing, but look whether a row was changed, removed\n"
	    "                or moved; exit status 1 when the trail is not whole\n"
	    "  --head TENANT:ROW:HASH  and that this row has that hash, as the\n"
	    "                system journal has it (audit: tenant 2 row 17 hash ...)\n"
	    "\n"
	    "What changes something, or reaches into a guest, is recorded before it is\n"
	    "done; what was refused, and what failed, after, at most 6 times a\n"
	    "minute.  Of each tenant 10,000 rows are kept.  An admin of a tenant sees\n"
	    "that one's, a host admin all, or those of --tenant.\n"
	    "\n"
	    "  mews audit --since 1h\n"
	    "  mews --tenant team audit --json\n"
	    "  mews audit --verify\n" },
	{ "orphan", cmd_orphan,
	    "ls\n"
	    "       mews [--tenant NAME] orphan adopt --name NAME UID\n"
	    "       mews orphan rm UID...",
	    "Adopts or ends VMs that the store does not know",
	    "  --name NAME  adopt: what it is to be called\n"
	    "\n"
	    "A VM that runs while its store is an older one that was put back goes\n"
	    "on, and is nobody's.  Only host admins see it.  `adopt` makes it one of\n"
	    "a tenant's, with the address and size that it has; its environment,\n"
	    "host name and kernel arguments are not known any more, and it is\n"
	    "started without them once it was stopped.  `rm` ends it, and so does\n"
	    "the suite itself after orphan_timeout of mews.conf.\n"
	    "\n"
	    "  mews orphan ls\n"
	    "  mews --tenant team orphan adopt --name web 5f3a\n"
	    "  mews orphan rm 5f3a\n" },
	{ "store", cmd_store, "backup [-f] FILE",
	    "Makes a backup of the store, while it is used",
	    "  -f, --force  overwrite FILE\n"
	    "\n"
	    "FILE is the store as it was at one moment, to be put back as\n"
	    "docs/operations.md says: all tenants, VMs, events, and the secrets in\n"
	    "VMs' environments.  Only its owner may read it.  It is written beside\n"
	    "itself as FILE.part, and has its name when all of it is on the disk.\n"
	    "For host admins.\n"
	    "\n"
	    "  mews store backup /srv/backup/mews-$(date +%F).db\n" },
	{ "doctor", cmd_doctor, "[--no-wait]", "Says what this host can do",
	    "  --no-wait  do not wait for what a suite that has just started\n"
	    "             still looks at (10 s at most)\n"
	    "\n"
	    "NO is what keeps VMs from starting: the exit status is then 1.  warn\n"
	    "is worth a look, and VMs start all the same.\n"
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
