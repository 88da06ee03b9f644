#!/usr/bin/env python3
"""cgroup v2 limits of VMs of the real suite: they are in place, they hold a
hypervisor that was taken over, and without them it is not held.

The hostile hypervisor is tests/suite/standin staged under QEMU's name: told by an
exec, it eats memory, starts threads and processes, computes.  Its neighbour
is a guest of QEMU's in the same suite.
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lablib as lab  # noqa: E402
from lablib import eq, note, read, write  # noqa: E402
import suite  # noqa: E402
from suite import wait_for  # noqa: E402

LAB = {"config": "bare", "deadline": 900}
OURS = lab.CGROUP + "/mews-lab"  # a group whose controllers are ours to give
GROUP = "/mews-lab/suite"
AT = lab.CGROUP + GROUP
PROGRAMS, STAGE = "/run/programs", "/run/stage"
REAL = os.path.join(lab.BUILD, "stage/current")
STANDIN = os.path.join(lab.BUILD, "stage-standin/current")
CONTROLLERS = "+memory +pids +cpu"
# proto/machine.c, of a VM with a NIC; spawner/cgroup.c
OVERHEAD, PIDS, PERIOD = 256, 128, 100000
NPROC = 96  # warden/compose.c, beside vCPUs
MEM = 96
SLOW = 120  # seconds: a guest under emulation in the lab


def off(rules, program):
    return os.path.join(lab.BUILD, "off", rules, program)


def programs(*others):
    """The suite's programs and its hostile stage, with other programs in the
    place of some."""
    shutil.rmtree(PROGRAMS, ignore_errors=True)
    shutil.copytree(lab.BUILD, PROGRAMS, ignore=lambda d, names: [
        n for n in names if not n.startswith("mews") or n.endswith(".big")
        or os.path.isdir(os.path.join(d, n))])
    stage = STANDIN
    for path in others:
        if path.endswith("mews-warden"):
            stage = STAGE + "-" + path.split("/")[-2]
            if not os.path.isdir(stage):
                shutil.copytree(STANDIN, stage, symlinks=True)
                shutil.copy2(path, stage + "/usr/bin")
        else:
            shutil.copy2(path, PROGRAMS)
    return stage


@contextlib.contextmanager
def group():
    """The group of all VMs, delegated to the suite; nothing may be left."""
    write(lab.CGROUP + "/cgroup.subtree_control", CONTROLLERS)
    os.mkdir(OURS)
    try:
        write(OURS + "/cgroup.subtree_control", CONTROLLERS)
        os.mkdir(AT)
        yield
        eq(groups(), [], "groups left")
    finally:
        clear(OURS)


def clear(path):
    """A group and what is below it, whatever lives there."""
    with contextlib.suppress(FileNotFoundError):
        write(path + "/cgroup.kill", "1")
        wait_for(lambda: "populated 0" in read(path + "/cgroup.events"),
                 "end of " + path)
        for d, dirs, _ in os.walk(path, topdown=False):
            for n in dirs:
                os.rmdir(os.path.join(d, n))
        os.rmdir(path)


def groups():
    try:
        return sorted(n for n in os.listdir(AT + "/vm")
                      if os.path.isdir(os.path.join(AT, "vm", n)))
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def running(*others, stage=None, **conf):
    """The suite in a fresh root, and its end without a trace."""
    hostile = programs(*others)
    conf.setdefault("cgroup", "require")
    conf.setdefault("cgroup_path", GROUP)
    conf.setdefault("ready_timeout", SLOW)
    s = suite.Suite(programs=PROGRAMS, stage=stage or hostile, **conf)
    try:
        s.start()
        s.wait_helpers(SLOW)
        yield s
        for vm in s.get("/api/v1/vms").json():
            remove(s, vm["name"])
        s.stop()
        eq(suite.leaks(s), [], "leaks")
        eq(groups(), [], "groups left")
    except BaseException:
        print(s.logs())
        raise
    finally:
        s.stop()
        clear_root(s)


def clear_root(s):
    clear(AT + "/vm")
    base = s.uids + suite.VM_FIRST
    for pid in suite.processes():
        with contextlib.suppress(OSError, KeyError):
            if int(suite.status(pid)["Uid"].split()[0]) >= base:
                os.kill(pid, signal.SIGKILL)
    for n in os.listdir(suite.ROOT):
        path = os.path.join(suite.ROOT, n)
        (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)


def create(s, name, **kw):
    a = s.create(name, memory_mb=MEM, **kw)
    eq(a.status, 201, a)
    s.wait_ready(name, SLOW)
    return s.get("/api/v1/vms/" + name).json()


def remove(s, name):
    a = s.request("DELETE", "/api/v1/vms/" + name, timeout=SLOW)
    assert a.status in (200, 204), a
    wait_for(lambda: s.get("/api/v1/vms/" + name).status == 404,
             "end of " + name)


def at(vm):
    return "%s/vm/%s" % (AT, vm["uid"])


def bomb(s, name, kind, n):
    """What it says it made, and why not more."""
    p = s.cli("exec", name, "bomb", kind, str(n), timeout=SLOW)
    m = re.match(r"(\d+) of \d+: (\w+)", p.stdout.decode())
    assert m, (p.returncode, p.stdout, p.stderr)
    return int(m.group(1)), m.group(2)


def vm_pids(s, vm):
    """Processes of its host uid."""
    uid = suite.status(vm["pid"])["Uid"].split()[0]
    return sorted(p for p in suite.processes()
                  if suite.status(p)["Uid"].split()[0] == uid)


def alive(s, name):
    """The API answers, and this VM runs a program."""
    eq(s.get("/healthz").status, 200)
    p = s.cli("exec", name, "echo", "here", timeout=SLOW)
    eq((p.returncode, p.stdout), (0, b"here\n"), p.stderr)


# -- what the suite decides, and says

def doctor(s, name="cgroup"):
    checks = s.get("/api/v1/system/doctor").json()
    checks = checks["checks"] if isinstance(checks, dict) else checks
    return next((c["ok"], c["detail"]) for c in checks
                if c["name"] == name)


@contextlib.contextmanager
def no_controllers():
    """Our group, to which nothing was delegated."""
    clear(AT)  # while something below has them they cannot be taken back
    write(OURS + "/cgroup.subtree_control", CONTROLLERS.replace("+", "-"))
    os.mkdir(AT)
    try:
        yield
    finally:
        write(OURS + "/cgroup.subtree_control", CONTROLLERS)


@contextlib.contextmanager
def inhabited():
    """Our group, with a process in it, which is moved below."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as p:
        write(AT + "/cgroup.procs", str(p.pid))
        try:
            yield
            eq(read(AT + "/keep/cgroup.procs"), str(p.pid), "moved")
        finally:
            p.stdin.close()


def decide():
    """auto, require, off: decided at start, said by doctor and the VM."""
    with group():
        for how, path, trouble, why in (
                ("require", GROUP, contextlib.nullcontext, None),
                ("auto", GROUP, contextlib.nullcontext, None),
                ("off", GROUP, contextlib.nullcontext, "cgroup = off"),
                ("auto", GROUP + "/none", contextlib.nullcontext,
                 "/suite/none: No such file"),
                ("auto", GROUP, no_controllers, "lacks memory, pids or cpu"),
                ("require", GROUP, inhabited, None)):
            with trouble(), running(cgroup=how, cgroup_path=path) as s:
                ok, detail = doctor(s)
                eq(ok, why is None, "%s: %s" % (how, detail))
                assert (why or "v2: memory, pids and cpu") in detail, detail
                p = s.cli("doctor")
                assert detail.encode() in p.stdout, p.stdout
                vm = create(s, "web")
                eq(vm["confinement"]["cgroup"], "none" if why else "v2", how)
                eq(os.path.isdir(at(vm)), why is None, how)
            clear(AT + "/vm")


def require():
    """Without what it requires there is no launcher, and the log says why."""
    with group():
        for path, trouble, why in (
                (GROUP + "/none", contextlib.nullcontext, "No such file"),
                (GROUP, no_controllers, "lacks memory, pids or cpu")):
            with trouble():
                programs()
                s = suite.Suite(programs=PROGRAMS, stage=STANDIN,
                                cgroup="require", cgroup_path=path)
                try:
                    s.start()

                    def said():
                        with open(suite.ROOT + "/log/spawner.log") as f:
                            return re.search("cgroup = require, but .*%s" % why,
                                             f.read())
                    wait_for(said, why)
                    eq(s.get("/healthz").status, 200, "the API")
                    eq(doctor(s, "launcher")[0], False, "no launcher")
                finally:
                    s.stop()
                    clear_root(s)


# -- limits in place

def limits(vm, vcpus):
    for file, want in (
            ("memory.max", str((MEM + OVERHEAD) << 20)),
            ("memory.swap.max", "0"), ("pids.max", str(PIDS + vcpus)),
            ("cpu.max", "%d %d" % (vcpus * PERIOD, PERIOD))):
        eq(read("%s/%s" % (at(vm), file)), want, file)


def placed():
    """A guest of QEMU's: all its processes are in its group, with limits;
    and a jail that is not in its group does not run."""
    with group(), running(stage=REAL, accel="auto") as s:
        t = time.monotonic()
        vm = create(s, "web")
        note("guest ready after %.1f s, %s" % (time.monotonic() - t,
                                               vm["accel"]))
        eq(vm["confinement"]["cgroup"], "v2")
        limits(vm, 1)
        procs = lab.members(at(vm))
        eq(procs, vm_pids(s, vm), "in the group, and of the VM's uid")
        eq(len(procs), 3, "keeper, warden, hypervisor")
        for p in procs:
            eq(read("/proc/%d/cgroup" % p), "0::%s/vm/%s" % (GROUP, vm["uid"]))
        st = os.stat(at(vm))
        eq((st.st_uid, st.st_mode & 0o777), (0, 0o755), "root's own")
    with group(), running() as s:  # guests of the lab's KVM have one only
        limits(create(s, "web", cpu_cores=2), 2)
    with group(), running(off("JAIL_CGROUP+VERIFY_CGROUP",
                              "mews-spawner")) as s:
        vm = create(s, "web")
        eq(read(at(vm) + "/cgroup.procs"), "", "nobody, without the rule")
    with group(), running(off("CGROUP_SWAP", "mews-spawner")) as s:
        vm = create(s, "web")
        eq(read(at(vm) + "/memory.swap.max"), "max", "without the rule")


# -- a hypervisor that was taken over

def memory_bomb():
    """It ends, its VM is crashed for want of memory, nobody else is hurt;
    with the limit off it has what it wants."""
    much = 2 * (MEM + OVERHEAD)
    with group(), running() as s:
        create(s, "good")
        vm = create(s, "evil")
        with contextlib.suppress(AssertionError):  # its stream ends with it
            raise RuntimeError("it has %s MiB" % bomb(s, "evil", "memory",
                                                      much)[0])
        wait_for(lambda: s.get("/api/v1/vms/evil").json()["status"]
                 == "crashed", "crash")
        reason = s.get("/api/v1/vms/evil").json()["reason"]
        assert reason.startswith("out of memory"), reason
        alive(s, "good")
        # it can be started again, and has a group that counts from zero
        eq(s.post("/api/v1/vms/evil/start", timeout=SLOW).status, 200)
        s.wait_ready("evil", SLOW)
        eq(lab.events(at(vm))["oom_kill"], 0)
        os.kill(s.get("/api/v1/vms/evil").json()["pid"], signal.SIGKILL)
        wait_for(lambda: s.get("/api/v1/vms/evil").json()["status"]
                 == "crashed", "crash")
        reason = s.get("/api/v1/vms/evil").json()["reason"]
        assert reason.startswith("hypervisor killed"), reason
    with group(), running(off("CGROUP_MEMORY", "mews-spawner")) as s:
        create(s, "evil")
        eq(bomb(s, "evil", "memory", much), (much, "ok"), "limit off")


def thread_bomb():
    """Threads end at RLIMIT_NPROC, where that is off at pids.max; the VM and
    its neighbour go on."""
    warden, many = off("VMM_NPROC", "mews-warden"), 1000
    with group():
        with running() as s:
            create(s, "evil")
            made, why = bomb(s, "evil", "threads", many)
            eq(why, "EAGAIN")
            assert NPROC - 20 < made <= NPROC + 1, made
        with running(warden) as s:
            create(s, "good")
            vm = create(s, "evil")
            made, why = bomb(s, "evil", "threads", many)
            eq(why, "EAGAIN")
            eq(int(read(at(vm) + "/pids.current")), PIDS + 1, "pids")
            assert lab.events(at(vm), "pids.events")["max"] > 0
            assert NPROC + 1 < made < PIDS, made
            alive(s, "good")
            alive(s, "evil")
        with running(warden, off("CGROUP_PIDS", "mews-spawner")) as s:
            vm = create(s, "evil")
            made, why = bomb(s, "evil", "threads", many)
            assert made > PIDS + 1, made
            note("%d threads without either, until %s" % (made, why))


def fork_bomb():
    """A process of its own is the hypervisor's end; where the filter's rule
    is off as well, pids.max stops it."""
    with group():
        with running() as s:
            create(s, "evil")
            with contextlib.suppress(AssertionError):
                raise RuntimeError(bomb(s, "evil", "forks", 1))
            wait_for(lambda: s.get("/api/v1/vms/evil").json()["status"]
                     == "crashed", "crash")
            reason = s.get("/api/v1/vms/evil").json()["reason"]
            assert "by signal %d" % signal.SIGSYS in reason, reason
        with running(off("VMM_CLONE+VMM_NPROC", "mews-warden")) as s:
            create(s, "good")
            vm = create(s, "evil")
            made, why = bomb(s, "evil", "forks", 1000)
            eq(why, "EAGAIN")
            assert NPROC + 1 < made < PIDS, made
            alive(s, "good")
            eq(len(read(at(vm) + "/cgroup.procs").split()), PIDS + 1)
            remove(s, "evil")  # all of them, with the group


def neighbour():
    """A guest of QEMU's lives through its neighbour's bombs, under a suite
    that was started anew with another stage meanwhile."""
    with group(), running(stage=REAL, accel="auto") as s:
        good = create(s, "good")
        s.stop()
        s.conf.update(stage=programs(), accel="tcg")
        s.start()
        s.wait_ready("good", SLOW)
        create(s, "evil")
        made, why = bomb(s, "evil", "threads", 1000)
        eq(why, "EAGAIN")
        eq(bomb(s, "evil", "spin", 2)[1], "EAGAIN")
        alive(s, "good")
        with contextlib.suppress(AssertionError):
            raise RuntimeError(bomb(s, "evil", "memory", 1000))
        wait_for(lambda: s.get("/api/v1/vms/evil").json()["status"]
                 == "crashed", "crash")
        alive(s, "good")
        eq(s.get("/api/v1/vms/good").json()["pid"], good["pid"])


# -- the end of a group

def kill_group():
    """What is in a VM's group dies with it, whoever it is; with the rule off
    it keeps the group, and the VM cannot be removed."""
    def stranger(vm):
        p = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        write(at(vm) + "/cgroup.procs", str(p.pid))
        return p
    with group():
        with running() as s:
            vm = create(s, "web")
            with stranger(vm) as p:
                remove(s, "web")
                eq(p.wait(SLOW), -signal.SIGKILL)
            assert not os.path.exists(at(vm))
        with running(off("KILL_GROUP", "mews-spawner")) as s:
            vm = create(s, "web")
            with stranger(vm) as p:
                with contextlib.suppress(OSError):
                    s.request("DELETE", "/api/v1/vms/web", timeout=3)
                wait_for(lambda: read(at(vm) + "/cgroup.procs")
                         == str(p.pid), "death of all but the stranger")
                eq(p.poll(), None)
                assert os.path.isdir(at(vm))
                p.kill()


def kill_all():
    """kill -9 of the suite, at work; then of every VM's processes as well:
    the next suite leaves nothing of them."""
    with group(), running() as s:
        create(s, "stays")
        vm = create(s, "goes")

        def everybody():
            return [s.proc.pid, *s.rooms().values()]
        for others in ([], vm_pids(s, vm)):
            rooms = everybody()
            for pid in (*rooms, *others):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            s.proc.wait()
            s.start()
            s.wait_helpers(SLOW)
            s.wait_ready("stays", SLOW)
            alive(s, "stays")
        wait_for(lambda: s.get("/api/v1/vms/goes").json()["status"]
                 == "crashed", "crash")
        wait_for(lambda: not os.path.exists(at(vm)), "end of its group")


def other_conf():
    """VMs keep their group when mews.conf names another, or none: they are
    adopted, read back again, and nothing of them is left."""
    with group(), running() as s:
        vms = [create(s, n) for n in ("one", "two")]
        for vm, conf in zip(vms, (dict(cgroup="off"),
                                  dict(cgroup_path=GROUP + "/other"))):
            s.stop()
            s.conf.update(cgroup="auto", cgroup_path=GROUP)
            s.conf.update(conf)
            if "cgroup_path" in conf:
                write(AT + "/cgroup.subtree_control", CONTROLLERS)
                os.mkdir(AT + "/other")
            s.start()
            s.wait_helpers(SLOW)
            for v in s.get("/api/v1/vms").json():
                s.wait_ready(v["name"], SLOW)
            # a new warden is read back by the record
            warden = next(p for p in vm_pids(s, vm) if "warden" in os.readlink(
                "/proc/%d/exe" % p))
            os.kill(warden, signal.SIGKILL)
            wait_for(lambda: read(at(vm) + "/cgroup.procs").count("\n") == 2,
                     "new warden")
            wait_for(lambda: s.cli("exec", vm["name"], "echo").returncode == 0,
                     "read-back of it")
            eq(s.get("/api/v1/vms/" + vm["name"]).json()["confinement"]
               ["cgroup"], "v2")
            remove(s, vm["name"])
            assert not os.path.exists(at(vm)), "its group"


CASES = {f.__name__.replace("_", "-"): f for f in (
    decide, require, placed, memory_bomb, thread_bomb, fork_bomb,
    neighbour, kill_group, kill_all, other_conf)}

if __name__ == "__main__":
    suite.enter()
    sys.exit(suite.run(CASES))
