#!/usr/bin/env python3
"""The warden with the real hypervisor, kernel and agent."""
import os
import random
import sys
import time

import parents as w
from wire import (EXIT_GUEST_OFF, EXIT_GUEST_PANIC,
                  EXIT_NONE, STOP_ACPI, STOP_AGENT, STOP_QUIT, STREAM_CONSOLE,
                  WARD_RUN, WARD_SPEC)

w.enter("warden_guest")
stage = w.Stage()
PATIENCE = 90


def vm(args=b""):
    return w.VM(stage, args, khz=w.tsc_khz())


def sh(v, script, want=0):
    s = v.exec("sh", "-c", script)
    assert s.opened(30) == (101, "signals")
    out, status = s.rest(60)
    assert w.code(status) == want, (out, status)
    return out


def qemu_forked_threads(v):
    """Every thread of the hypervisor under the filter, twice over: ours
    and its own."""
    tids = os.listdir("/proc/%d/task" % v.vmm)
    for t in tids:
        st = open("/proc/%d/task/%s/status" % (v.vmm, t)).read()
        assert "Seccomp:\t2" in st and "Seccomp_filters:\t2" in st, st
        assert "NoNewPrivs:\t1" in st
        assert "Uid:\t%d\t%d\t%d\t%d" % ((w.VM_UID,) * 4) in st
    return len(tids)


def whole_life(v):
    t = time.monotonic()
    v.hello()
    v.wait(lambda s: s.qmp)
    qmp = time.monotonic() - v.t0
    assert not v.state.running
    assert qemu_forked_threads(v) >= 3
    v.send(WARD_RUN)
    fd = w.memfd(w.SPEC_JSON)
    v.send(WARD_SPEC, fd=fd)
    os.close(fd)
    v.wait(lambda s: s.running)
    v.wait(lambda s: s.ready, PATIENCE)
    with open("/proc/%d/smaps" % v.vmm) as f:  # proc(5): mg, mergeable
        assert not [l for l in f if l.startswith("VmFlags:") and " mg" in l]
    print("  QEMU exec to QMP %.0f ms, to ready %.0f ms" % (
        qmp * 1000, (time.monotonic() - v.t0) * 1000))
    assert qemu_forked_threads(v) >= 3
    assert t < time.monotonic()


def execs(v):
    assert sh(v, "uname -s") == b"Linux\n"
    sh(v, "exit 7", 7)
    s = v.exec("cat")
    s.opened(30)
    data = os.urandom(50000)
    for _ in range(10):
        s.frame(0, data)
    s.close_stdin()
    out, status = s.rest(60)
    assert out == data * 10 and w.code(status) == 0, len(out)
    s = v.exec("sleep", "1000")
    s.opened(30)
    s.frame(5, b"\x0f")
    assert w.code(s.rest(60)[1]) == 143
    t = time.monotonic()
    for _ in range(20):
        sh(v, ":")
    print("  exec of sh -c : %.1f ms" % ((time.monotonic() - t) * 50))
    assert v.exec("/no/such").opened(30)[0] in (101, 500)


def console(v):
    v.hear(b"mews-agent ready", 30)
    a = v.stream(STREAM_CONSOLE)
    a.opened()
    sh(v, "echo from-the-guest > /dev/console || "
          "echo '<1>from-the-guest' > /dev/kmsg")
    a.until(b"from-the-guest", 30)
    a.close()


def killed_during_exec(v):
    up = float(sh(v, "cut -d' ' -f1 /proc/uptime"))
    s = v.exec("sleep", "100")
    s.opened(30)
    v.kill_warden()
    while s.next() is not None:
        pass
    v.start_warden()
    v.hello()
    v.wait(lambda s: s.ready and s.running, 30)
    assert float(sh(v, "cut -d' ' -f1 /proc/uptime")) >= up


def killed_20(v):
    seed = random.randrange(1 << 30)
    rnd = random.Random(seed)
    try:
        for i in range(20):
            s = v.exec("cat")
            end = time.monotonic() + rnd.random() * 0.1
            n = 0
            while time.monotonic() < end:
                if n < 30:
                    s.frame(0, rnd.randbytes(rnd.randrange(2000)))
                n += 1
                w.select.select([], [], [], 0.002)
            v.kill_warden()
            v.start_warden()
            v.hello()
            v.wait(lambda s: s.ready, 30)
            assert sh(v, "echo %d" % i) == b"%d\n" % i
            s.close()
    except Exception:
        print("  seed %d" % seed)
        raise


def power(v):
    v.rung(STOP_AGENT)
    assert v.wait_vmm(30) == 0, v.said()
    v.wait(lambda s: s.guest_event == EXIT_GUEST_OFF)


def quit_rung():
    with vm() as v:
        v.hello()
        v.wait(lambda s: s.qmp)
        v.rung(STOP_QUIT)
        assert v.wait_vmm(30) == 0, v.said()
        v.wait(lambda s: not s.qmp)
        assert v.state.guest_event == EXIT_NONE, v.state


def acpi_rung():
    """The button is pressed: the agent hears it and powers the guest off."""
    with vm() as v:
        v.boot(PATIENCE)
        v.rung(STOP_ACPI)
        assert v.wait_vmm(60) == 0, v.said()
        v.wait(lambda s: s.guest_event == EXIT_GUEST_OFF)


def panics():
    """An init that is not there: the kernel panics, the VM ends."""
    with vm(b"rdinit=/no/such init=/no/such panic=-1") as v:
        v.hello()
        v.wait(lambda s: s.qmp)
        v.send(WARD_RUN)
        assert v.wait_vmm(PATIENCE) == 0, v.said()
        v.wait(lambda s: not s.qmp)
        # before its driver for pvpanic it can only reset the machine: what
        # it said last tells
        assert v.state.guest_event == EXIT_GUEST_PANIC, v.state
        assert v.state.detail.startswith(b"Kernel panic - not syncing"), v.state


def main():
    if not stage.guest():
        print("skip warden with a real guest: no %s/guest (make guest)" % w.B)
        return 0
    ok = w.run("qemu: quit while stopped", quit_rung)
    with vm() as v:
        for fn in (whole_life, execs, console, killed_during_exec, killed_20,
                   power):
            ok &= w.run("qemu: " + fn.__name__, fn, v)
        if not ok:
            print(v.said())
    ok &= w.run("qemu: acpi", acpi_rung)
    ok &= w.run("qemu: panic", panics)
    stage.close()
    return 0 if ok else 1


sys.exit(main())
