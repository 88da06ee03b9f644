#!/usr/bin/env python3
"""Boots the lab, runs suites in it and counts.

usage: tests/lab/lab.py [-c] [-s] [-t SECONDS] [NAME...]
       tests/lab/lab.py --shell [CONFIG]

A suite is tests/lab/NAME_lab.py; its head says what it needs:

    LAB = {"config": "bare", "deadline": 60}

config    "bare" (tests/lab/init is pid 1), "systemd" or "smp" (bare with two
          processors, whose time is the clock's), or a list of them: the suite
          runs in each, as NAME in the first, NAME-CONFIG in others
deadline  seconds of the lab's own time
check     True: belongs to `make check`, in its first configuration (-s runs
          only those)
carry     folders to bring along besides the release build ("build-test")
reboots   True: it may end with REBOOT or CRASH (tests/lab/run)
needs     a variable of the environment that names a program to bring along;
          without it the suite is skipped, by name

One boot serves all suites of a configuration.  A suite prints "ok NAME",
"not ok NAME" or "skip NAME: WHY" as every test here does; the last line of
this program is "N passed, N failed, N skipped".  -c prints the cases one by
one instead, for tests/check.  -t is for all of it by the clock: what is not done
then has failed.  Details are in build/lab/results.xml, the
console of each boot in build/lab/console-CONFIG.log.

No program of the lab is trusted to end: each phase has a deadline here, too.
"""
import ast
import contextlib
import fcntl
import getopt
import glob
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from xml.sax.saxutils import escape, quoteattr

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("B", "build")
LAB = os.path.join(TOP, BUILD, "lab")
IMAGE = LAB + "/image"
OUT = os.environ.get("LAB_OUT", LAB)  # results and consoles
MEMORY = os.environ.get("LAB_MEMORY", "2048")
SHIFT = os.environ.get("LAB_SHIFT", "0")
# Seconds of a processor that the lab may use for it; SLOW times as many by
# the clock, of which a loaded machine gives the lab only a part.
BOOT = 120
BETWEEN = 30  # from one event of the runner to the next, outside of a suite
GRACE = 30  # what the runner has to end a suite that is over its deadline
POWEROFF = 30
SLOW = int(os.environ.get("LAB_SLOW", "8"))
# Seconds of a processor for one of the lab's own, at most.
BUSY = 8
VERBOSE = bool(os.environ.get("TEST_VERBOSE"))  # each line when it comes
TICK = os.sysconf("SC_CLK_TCK")
LOUD = ("ok ", "not ok ", "skip ")


def head(path):
    """The dictionary LAB of a suite, without running it."""
    with open(path) as f:
        tree = ast.parse(f.read(), path)
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(
                node.targets[0], "id", "") == "LAB":
            return ast.literal_eval(node.value)
    raise SystemExit("%s: no LAB = {...}" % path)


def suites(where):
    found = {}
    for path in sorted(glob.glob(where + "/*_lab.py")):
        base, lab = os.path.basename(path).removesuffix("_lab.py"), head(path)
        configs = lab["config"]
        if isinstance(configs, str):
            configs = [configs]
        for n, config in enumerate(configs):
            name = base if n == 0 else base + "-" + config
            found[name] = dict(lab, config=config, base=base, name=name,
                               path=path, check=lab.get("check") and n == 0)
    return found


# -- what goes in

def skip_build(d, names):
    """What the lab has no use for: what programs were made of."""
    return [n for n in names if n.endswith((".a", ".big", ".log", ".deb"))
            or n in ("obj", "unit", "lab", "__pycache__", "kernel")
            or n.startswith("new.")]


def carry(dest, extra, programs):
    """The project as built here, as a tree of links, below dest."""
    for d in [BUILD, *extra]:
        shutil.copytree(os.path.join(TOP, d), os.path.join(dest, d),
                        symlinks=True, copy_function=os.link, ignore=skip_build)
    for d in ("tests", "etc"):
        shutil.copytree(os.path.join(TOP, d), os.path.join(dest, d),
                        symlinks=True, copy_function=os.link,
                        ignore=lambda d, n: [x for x in n if x in (
                            "__pycache__", "corpus")])
    for lib in glob.glob(LAB + "/tools/*"):
        shutil.copy(lib, os.path.join(dest, BUILD))
    for variable, path in programs.items():
        bring(path, os.path.join(dest, "brought", variable.lower()))


def bring(path, dest):
    """A program from elsewhere with every library it is linked to; they are
    not the lab's: it runs by its own loader (dest/run)."""
    os.makedirs(dest + "/lib")
    shutil.copy2(path, dest + "/program")
    p = subprocess.run(["ldd", path], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, text=True)
    libs = re.findall(r"(?:=> )?(/\S+) \(0x", p.stdout) if not p.returncode \
        else []
    for lib in libs:
        shutil.copy2(lib, dest + "/lib/")
    loader = [os.path.basename(l) for l in libs if "/ld-" in l]
    with open(dest + "/run", "w") as f:
        f.write("#!/bin/sh\nd=$(dirname \"$0\")\n")
        if loader:
            f.write("exec \"$d/lib/%s\" --library-path \"$d/lib\" "
                    "\"$d/program\" \"$@\"\n" % loader[0])
        else:
            f.write("exec \"$d/program\" \"$@\"\n")
    os.chmod(dest + "/run", 0o755)


def make_disk(tree, disk):
    size = int(subprocess.check_output(["du", "-sm", tree]).split()[0])
    with open(disk, "wb") as f:
        f.truncate((size + size // 4 + 256) << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E",
                    "root_owner=0:0,lazy_itable_init=1", "-m", "0", "-d",
                    tree, disk], check=True)


@contextlib.contextmanager
def run_dir():
    """A folder of this run; those of runs that were killed go."""
    os.makedirs(LAB, exist_ok=True)
    for old in glob.glob(LAB + "/run.*"):
        with contextlib.suppress(OSError):
            fd = os.open(old, os.O_RDONLY)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
            finally:
                os.close(fd)
    d = tempfile.mkdtemp(prefix="run.", dir=LAB)
    fd = os.open(d, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield d
    finally:
        shutil.rmtree(d, ignore_errors=True)
        os.close(fd)


# -- the machine

def machine(d, config, serial, more=(), words=()):
    """QEMU's arguments.  Nothing of it reaches outside: no network but a hub
    between its own two cards, and disks whose writes are thrown away."""
    init = "/lib/systemd/systemd" if config == "systemd" \
        else "/mews/tests/lab/init"
    # Time counts instructions, 1 ns each, and passes by itself only when
    # there is none to do: then a loaded machine makes the lab take longer and
    # changes nothing in it.  By the clock, timer ticks pile up under load
    # until a guest of the lab does nothing else.  It takes one processor: with
    # two, bringing up the second one hangs.
    cpus = ["-accel", "tcg,thread=multi", "-smp", "2"] if config == "smp" else \
        ["-accel", "tcg,thread=single", "-icount", "shift=" + SHIFT,
         "-smp", "1"]
    line = ("console=ttyS0 intel_iommu=on mitigations=off panic=-1 lab.init=%s "
            "systemd.unified_cgroup_hierarchy=1 systemd.show_status=false "
            "net.ifnames=0 modprobe.blacklist=ahci kvm.halt_poll_ns=0 "
            "tsc=reliable %s" % (init, " ".join(words)))

    def disk(name, path):
        return ["-drive", "file=%s,format=raw,if=none,id=%s,snapshot=on,"
                "cache=unsafe" % (path, name)]
    return [
        "qemu-system-x86_64", "-M", "q35,kernel-irqchip=split",
        *cpus,
        "-cpu", "EPYC,+svm,+npt,+invtsc", "-m", MEMORY, "-nodefaults",
        "-no-user-config",
        "-display", "none", "-serial", serial, *more,
        # before what it is to translate for
        "-device", "intel-iommu,intremap=on,caching-mode=on",
        "-kernel", IMAGE + "/vmlinuz", "-initrd", IMAGE + "/initramfs",
        "-append", line,
        *disk("root", IMAGE + "/root.ext4"), "-device",
        "virtio-blk-pci,drive=root,addr=2.0",
        *disk("mews", d + "/mews.ext4"), "-device",
        "virtio-blk-pci,drive=mews,addr=3.0",
        "-device", "virtio-rng-pci,addr=4.0",
        "-device", "virtio-serial-pci,id=ports,addr=5.0",
        # a card alone in its group; one of conventional PCI, which has no
        # means to keep functions apart: it shares its group with a sibling
        "-netdev", "hubport,id=lone,hubid=0", "-device",
        "e1000e,netdev=lone,mac=52:54:00:1a:b0:10,addr=10.0,romfile=",
        "-netdev", "hubport,id=shared,hubid=0", "-device",
        "e1000,netdev=shared,mac=52:54:00:1a:b0:11,addr=11.0,"
        "multifunction=on,romfile=",
        "-device", "virtio-rng-pci,addr=11.1",
        *disk("nvme", d + "/nvme.raw"), "-device",
        "nvme,drive=nvme,serial=lab-nvme,addr=12.0",
        # for whoever looks into the lab: -monitor, -d
        *shlex.split(os.environ.get("LAB_QEMU", "")),
    ]


class Hung(Exception):
    pass


class Boot:
    """One boot of the lab, and what it tells."""

    def __init__(self, d, config, reboots, last):
        self.start = time.monotonic()
        self.last = last  # when all must be done
        self.console = OUT + "/console-%s.log" % config
        here, there = socket.socketpair()
        self.sock, self.buf = here, b""
        self.stderr = open(d + "/qemu.log", "wb")
        self.p = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL",
             *machine(d, config, "file:" + self.console,
                      [] if reboots else ["-no-reboot"]),
             "-chardev", "socket,id=results,fd=%d" % there.fileno(),
             "-device", "virtserialport,chardev=results,name=lab.results"],
            stdin=subprocess.DEVNULL, stdout=self.stderr, stderr=self.stderr,
            pass_fds=(there.fileno(),))
        there.close()

    def cpu(self):
        """Seconds of processor that the lab has used."""
        with open("/proc/%d/stat" % self.p.pid) as f:
            return sum(map(int, f.read().rpartition(")")[2].split()[11:13])
                       ) / TICK

    def event(self, until, what):
        """The runner's next event, before until (self.deadline())."""
        cpu, clock, seconds = until
        while b"\n" not in self.buf:
            now = time.monotonic()
            left = min(cpu - self.cpu(), clock - now, self.last - now)
            if left <= 0:
                raise Hung("%s: not done in %d s of a processor" % (
                    what, seconds) if now < self.last else
                    "%s: not done when the lab's time was over" % what)
            # what is left, or less: the processor's time is asked again
            if not select.select([self.sock], [], [], left)[0]:
                continue
            data = self.sock.recv(65536)
            if not data:
                raise Hung("%s: the lab ended" % what)
            self.buf += data
        line, _, self.buf = self.buf.partition(b"\n")
        return json.loads(line)

    def deadline(self, seconds):
        return (self.cpu() + seconds, time.monotonic() + SLOW * seconds,
                seconds)

    def close(self, seconds=0):
        """Its own end within seconds, or ours."""
        try:
            self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
        self.sock.close()
        self.stderr.close()

    def tail(self, n=60):
        with open(self.console, errors="replace") as f:
            return "".join(f.readlines()[-n:])


class Result:
    def __init__(self, suite):
        self.suite, self.lines = suite, []
        self.took, self.why = 0.0, ""  # seconds of the lab
        self.clock = 0.0

    def end(self, rc):
        bad = any(l.startswith("not ok ") for l in self.lines)
        if rc != 0 and not bad:
            self.why = "exit %s" % rc
        elif not any(l.startswith(LOUD) for l in self.lines):
            self.why = "no case"

    def cases(self):
        """(verdict, name, why)"""
        for l in self.lines:
            for sign in LOUD:
                if l.startswith(sign):
                    name, _, why = l[len(sign):].partition(": ")
                    yield sign.strip(), name, why
        if self.why:
            yield "not ok", "whole", self.why


def follow(boot, todo, results, say):
    """Until the runner is done; Hung when it is not in time."""
    e = boot.event(boot.deadline(BOOT), "boot")
    say("lab up after %.1f s" % (time.monotonic() - boot.start))
    current, until, what = None, boot.deadline(BETWEEN), "the runner"
    while True:
        e = boot.event(until, what)
        if e["event"] == "done":
            return
        if e["event"] == "begin":
            current = results[e["suite"]]
            began = time.monotonic()
            what = "suite " + e["suite"]
            until = boot.deadline(BUSY * current.suite["deadline"] + GRACE)
        elif e["event"] == "line":
            current.lines.append(e["text"])
            if VERBOSE:
                say("  " + e["text"])
        elif e["event"] == "reboot":
            current.took += e["took"]
            current.clock += time.monotonic() - began
            until = boot.deadline(POWEROFF + BOOT)
            e = boot.event(until, what + ", reboot")
            if e["event"] != "up":
                raise Hung("%s: %s instead of a reboot" % (what, e["event"]))
            until = boot.deadline(BETWEEN)
        elif e["event"] == "up":
            raise Hung("%s: the lab rebooted" % what)
        elif e["event"] == "end":
            current.took += e["took"]
            current.clock += time.monotonic() - began
            current.end(e["rc"])
            say(None, current)
            current, until, what = None, boot.deadline(BETWEEN), "the runner"


def run_config(config, todo, results, say, last):
    with run_dir() as d:
        tree = d + "/carry"
        programs = {s["needs"]: os.environ[s["needs"]]
                    for s in todo if "needs" in s}
        carry(tree, sorted({c for s in todo for c in s.get("carry", ())}),
              programs)
        ask = {"config": config, "suites": [
            {"name": s["name"], "deadline": s["deadline"], "args": [],
             "path": os.path.relpath(s["path"], TOP),
             "env": {"B": BUILD}} for s in todo]}
        with open(tree + "/ask.json", "w") as f:
            json.dump(ask, f)
        make_disk(tree, d + "/mews.ext4")
        shutil.rmtree(tree)
        with open(d + "/nvme.raw", "wb") as f:
            f.truncate(64 << 20)
        boot = Boot(d, config, any(s.get("reboots") for s in todo), last)
        try:
            follow(boot, todo, results, say)
            boot.close(POWEROFF)
        except Hung as e:
            boot.close()
            with open(d + "/qemu.log", errors="replace") as f:
                said = f.read()[-2000:]
            for s in todo:
                r = results[s["name"]]
                if not r.took and not r.why:
                    r.why = str(e)
                    r.lines.append("the lab's console is in " + boot.console)
                    say(None, r)
            say("lab: %s; its console is in %s\n%s%s"
                % (e, boot.console, boot.tail(), said))
        finally:
            boot.close()


def clean(text):
    """What XML cannot hold goes."""
    return re.sub("[^\t\n -\ud7ff\ue000-\ufffd]", "?", text)


def write_xml(results, path):
    with open(path, "w") as f:
        f.write('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n')
        for r in results:
            cases = list(r.cases())
            f.write('<testsuite name=%s tests="%d" failures="%d" skipped="%d" '
                    'time="%.1f">\n' % (
                        quoteattr(r.suite["name"]), len(cases),
                        sum(v == "not ok" for v, _, _ in cases),
                        sum(v == "skip" for v, _, _ in cases), r.took))
            for verdict, name, why in cases:
                f.write("<testcase classname=%s name=%s>" % (
                    quoteattr(r.suite["name"]), quoteattr(clean(name))))
                if verdict == "not ok":
                    f.write("<failure message=%s/>" % quoteattr(clean(why)))
                elif verdict == "skip":
                    f.write("<skipped message=%s/>" % quoteattr(clean(why)))
                f.write("</testcase>\n")
            f.write("<system-out>%s</system-out>\n</testsuite>\n"
                    % escape(clean("\n".join(r.lines))))
        f.write("</testsuites>\n")


def shell(config):
    """The lab at this terminal: what a suite sees, for a person."""
    with run_dir() as d:
        carry(d + "/carry", [x for x in ("build-test",)
                             if os.path.isdir(os.path.join(TOP, x))], {})
        make_disk(d + "/carry", d + "/mews.ext4")
        shutil.rmtree(d + "/carry")
        with open(d + "/nvme.raw", "wb") as f:
            f.truncate(64 << 20)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # tests/lab/init takes the one, systemd the other
        return subprocess.run(machine(d, config, "mon:stdio", ["-no-reboot"], [
            "lab.shell", "systemd.unit=basic.target",
            "systemd.debug_shell=ttyS0"])).returncode


def main(argv):
    if argv[:1] == ["--shell"]:
        return shell(argv[1] if len(argv) > 1 else "bare")
    opts, names = getopt.getopt(argv, "cst:")
    opts = dict(opts)
    each, short = "-c" in opts, "-s" in opts
    last = time.monotonic() + float(opts.get("-t", "inf"))
    known = suites(os.environ.get("LAB_SUITES", HERE))
    bases = {s["base"] for s in known.values()}
    for n in names:
        if n not in bases | known.keys():
            raise SystemExit("lab: no suite %s; there are: %s"
                             % (n, " ".join(known)))
    chosen = [s for s in known.values()
              if (not names or s["name"] in names or s["base"] in names)
              and (not short or s.get("check"))]
    results = {s["name"]: Result(s) for s in chosen}

    def say(text, r=None):
        if text:
            print(text, flush=True)
        if r is None:
            return
        cases = list(r.cases())
        bad = any(v == "not ok" for v, _, _ in cases)
        if each:
            for v, name, why in cases:
                print("%s lab %s %s%s" % (v, r.suite["name"], name,
                                          ": " + why if why else ""))
        print("%-20s %3d cases %6.1f s, %4.0f s by the clock%s" % (
            r.suite["name"], len(cases), r.took, r.clock,
            "  FAILED" if bad else ""))
        if bad and not VERBOSE:
            print("\n".join("  " + l for l in r.lines))
        sys.stdout.flush()

    ready = []
    for s in chosen:
        var = s.get("needs")
        if var and not os.environ.get(var):
            results[s["name"]].lines.append(
                "skip whole: %s names no program" % var)
            if each:
                say(None, results[s["name"]])
        else:
            ready.append(s)
    for config in ("bare", "systemd", "smp"):
        todo = [s for s in ready if s["config"] == config]
        if todo:
            run_config(config, todo, results, say, last)
    write_xml(results.values(), OUT + "/results.xml")
    all_ = [(r.suite["name"], *c) for r in results.values() for c in r.cases()]
    passed, failed, skipped = ([c for c in all_ if c[1] == v]
                               for v in ("ok", "not ok", "skip"))
    if not each:
        for s in skipped:
            print("skipped: %s: %s: %s" % (s[0], s[2], s[3]))
        for s in failed:
            print("failed: %s: %s%s" % (s[0], s[2], ": " + s[3] if s[3] else ""))
        print("%d passed, %d failed, %d skipped"
              % (len(passed), len(failed), len(skipped)))
    return 1 if failed or not all_ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
