"""The suite that is soaked, in a host of its own: below a pid 1 that does not
reap, with a standard error that nobody reads, a store of its own size, and
staged trees to choose from."""
import array
import contextlib
import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import termios

import suite
from suite import BUILD, ROOT, TOP

STAGES = "/run/stages"
STORE = ROOT + "/lib/store"
STORE_MIB = 64
STDERR_BYTES = 4096  # a page: what a pipe has at least
STDERR_ROOM = 1024  # of it, for what mewsd says; nobody reads it
LINE_MAX = 256
FILLER = b"." * (STDERR_BYTES - STDERR_ROOM) + b"\n"
HOSTILE = ("evil-", "vmm-", "hostile-", "real1")  # how such VMs' names begin
NICE = 10
HOSTILE_USER, STRANGERS = 10, (9, 11)  # offsets in the block of uids
STANDIN = os.path.join(TOP, "build-test/stage-standin/current")
REAL = os.path.join(BUILD, "stage/current")
# stage: (file of a build, place in the tree)
REPLACED = {
    "standin": (),
    # takes a launchd's calls and says what it may not, from its slot
    "wardens": (("evil/mews-warden", "usr/bin/mews-warden"),),
    # floods or hangs up on every launchd but its first
    "keepers": (("bad/mews-keeper", "usr/bin/mews-keeper"),),
}
# holds the store's lock for so many seconds, as orchd's own user would
LOCK = """import os, select, sqlite3, sys
os.setgroups([])
os.setresgid(*[int(sys.argv[3])] * 3)
os.setresuid(*[int(sys.argv[3])] * 3)
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
db.execute("BEGIN IMMEDIATE")
select.select([], [], [], float(sys.argv[2]))
db.execute("ROLLBACK")"""


def built():
    return [p for p in (STANDIN, REAL, BUILD + "/bad/mews-keeper",
                        BUILD + "/evil/mews-warden", BUILD + "/mewsd")
            if not os.path.exists(p)]


def stages():
    """Trees with the stand-in as hypervisor and this build's programs."""
    for name, replaced in REPLACED.items():
        tree = os.path.join(STAGES, name)
        shutil.copytree(os.path.realpath(STANDIN), tree, symlinks=True)
        for p in ("mews-keeper", "mews-warden"):
            shutil.copy2(os.path.join(BUILD, p), tree + "/usr/bin")
        for src, dst in replaced:
            shutil.copy2(os.path.join(BUILD, src), os.path.join(tree, dst))
    with open(STAGES + "/wardens/boot/late", "w"):
        pass  # honest until they are verified (evil_warden.c)
    os.symlink(os.path.realpath(REAL), STAGES + "/real")


class World(suite.Suite):
    def __init__(self, shared):
        super().__init__(
            stage=STAGES + "/standin", log_level="info",
            stop_agent_timeout=3, stop_acpi_timeout=1, stop_quit_timeout=1,
            stop_term_timeout=1)
        self.shared = shared
        self.conf["users"] = [str(self.uids + suite.USER),
                              str(self.uids + HOSTILE_USER)]
        self.unread = -1
        self.stderr_full = 0  # times that mewsd filled it
        os.makedirs(STORE)
        os.chmod(ROOT + "/lib", 0o755)
        suite.sh("mount", "-t", "tmpfs", "-o", "mode=700,size=%dm" % STORE_MIB,
                 "store", STORE)

    # -- mewsd

    def start(self, wait=True, env=None, under=()):
        self.write_conf()
        rd, wr = os.pipe()
        fcntl.fcntl(wr, fcntl.F_SETPIPE_SZ, STDERR_BYTES)
        os.write(wr, FILLER)
        self.proc = subprocess.Popen(
            [self.programs + "/mewsd", "-f", ROOT + "/mews.conf", "-r", ROOT],
            stdin=subprocess.DEVNULL, stdout=wr, stderr=wr)
        os.close(wr)
        self.read_late()
        self.unread = rd
        self.shared.mewsd = self.proc.pid
        if wait:
            self.wait_up()
        return self

    def read_late(self):
        """What was left in a pipe, once its mewsd is gone, for a person."""
        if self.unread < 0:
            return
        os.set_blocking(self.unread, False)
        n = array.array("i", [0])
        fcntl.ioctl(self.unread, termios.FIONREAD, n)
        self.stderr_full += n[0] > STDERR_BYTES - LINE_MAX
        with contextlib.suppress(OSError), \
                open(ROOT + "/mewsd.log", "ab") as f:
            while data := os.read(self.unread, 65536):
                f.write(data.removeprefix(FILLER))
        os.close(self.unread)
        self.unread = -1

    def stop(self):
        super().stop()
        self.read_late()

    def stage(self, name):
        """Another mewsd, for whose VMs that tree is; those that run stay."""
        self.stop()
        self.conf["stage"] = os.path.join(STAGES, name)
        self.start()
        self.wait_helpers()

    # -- its store

    def lock_store(self, seconds):
        subprocess.run([sys.executable, "-c", LOCK, STORE + "/store.db",
                        str(seconds), str(self.uids)], check=True,
                       timeout=seconds + 40)

    @contextlib.contextmanager
    def full_store(self):
        path = STORE + "/fill"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(fd, bytes(size))
            yield
        finally:
            os.close(fd)
            os.unlink(path)

    def events_after(self, seq):
        with contextlib.closing(sqlite3.connect(
                "file:%s/store.db?mode=ro" % STORE, uri=True)) as db:
            return [n for n, in db.execute(
                "SELECT seq FROM event WHERE seq > ? ORDER BY seq", (seq,))]

    def store_state(self):
        """What is wrong with the store of a suite that was stopped."""
        with contextlib.closing(sqlite3.connect(STORE + "/store.db")) as db:
            vms = db.execute("SELECT count(*) FROM vm").fetchone()[0]
            whole = db.execute("PRAGMA integrity_check").fetchone()[0]
        return (["%d VMs in the store" % vms] if vms else []) + \
            ([] if whole == "ok" else ["store: " + whole])

    def put_behind(self):
        """All processes of hostile VMs wait for a processor behind others, as
        the weights of cgroups would make them, of which this host has none."""
        with contextlib.closing(sqlite3.connect(
                "file:%s/store.db?mode=ro" % STORE, uri=True)) as db:
            rows = db.execute("SELECT name, slot FROM vm").fetchall()
        for name, slot in rows:
            if name.startswith(HOSTILE):
                with contextlib.suppress(OSError):
                    os.setpriority(os.PRIO_USER, self.conf["uid_base"] + slot,
                                   NICE)

    # -- the end

    def zombies(self):
        n = 0
        for pid in suite.processes():
            with contextlib.suppress(OSError, KeyError):
                n += suite.status(pid)["State"][0] == "Z"
        return n

    def left(self):
        """What a stopped suite without VMs left; what its pid 1 did not reap
        is gone."""
        found = []
        for what in suite.leaks(self):
            if what.startswith("process "):
                with contextlib.suppress(OSError, KeyError):
                    if suite.status(int(what.split()[1]))["State"][0] == "Z":
                        continue
            if what != "mount " + STORE:
                found.append(what)
        found += ["table " + t for t in suite.sh(
            "nft", "list", "tables").split("\n") if t]
        if suite.BRIDGE in suite.sh("ip", "-o", "link"):
            found.append("bridge")
        return found + self.store_state()

    def signal_room(self, room, sig):
        """Its pid, or None."""
        pid = self.rooms().get(room)
        if pid is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)
            return pid
        return None

    def kill_all(self):
        for pid in self.rooms().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
