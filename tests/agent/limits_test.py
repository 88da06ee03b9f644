#!/usr/bin/env python3
"""A workload that takes all of its guest: who it ends, and that an exec gets in."""
import os
import signal
import sys
import time
import traceback

from guest import B, Exec, Guest, Mux, call, run, spec

G = None
M = None


def sh(text, **more):
    return run(M, "sh", "-c", text, **more)


def health():
    return call(M, "GET", "/healthz")[1]


def carry():
    """The greedy program, into the guest."""
    e = Exec(M, ["sh", "-c", "cat >/root/greedy && chmod +x /root/greedy"], stdin=True)
    with open(B + "/greedy", "rb") as f:
        data = f.read()
    for i in range(0, len(data), 60000):
        e.frame(0, data[i:i + 60000])
    e.frame(255, b"\0")
    assert e.wait() == 0, e.out


def greedy(what, deadline=60):
    """One that stays: it and its words."""
    e = Exec(M, ["/root/greedy", what])
    end = time.monotonic() + deadline
    while b"\n" not in e.out[1]:
        assert not e.out[3] and time.monotonic() < end, (what, e.out)
        e.step()
    return e, e.out[1].decode().split()


def alive():
    code, out, err = sh("echo in; true | cat; cat /proc/1/comm")
    assert (code, out) == (0, b"in\ninit\n"), (code, out, err)
    assert G.p.poll() is None


def t_memory():
    """In memory's file systems, and then by processes."""
    before = health()["oom_kills"]
    sh("dd if=/dev/zero of=/tmp/a bs=64k; dd if=/dev/zero of=/dev/shm/a bs=64k; sleep 1")
    alive()
    assert sh("head -c 1000000000 /dev/zero | tail")[0] == 137
    alive()
    h = health()
    assert h["oom_kills"] > before and h["oom_last"].split(",")[0] in ("tail", "head"), h
    assert sh("rm /tmp/a /dev/shm/a")[0] == 0


def t_one_size():
    """/ and /dev/shm are full together."""
    assert sh("dd if=/dev/zero of=/tmp/a bs=64k")[0] == 1
    assert sh("dd if=/dev/zero of=/dev/shm/a bs=64k count=1")[0] == 1
    assert sh("rm /tmp/a; dd if=/dev/zero of=/dev/shm/a bs=64k count=1;"
              "rm /dev/shm/a")[0] == 0


def t_sleeps():
    """Many processes and full memory."""
    e = Exec(M, ["sh", "-c", "i=0; while [ $i -lt 200 ]; do sleep 5000 & i=$((i+1));"
                 "done; echo up; wait"])
    while b"up" not in e.out[1] and not e.out[3]:
        e.step()
    sh("dd if=/dev/zero of=/tmp/a bs=64k; head -c 1000000000 /dev/zero | tail")
    alive()
    assert sh("rm -f /tmp/a; killall sleep; true")[0] == 0
    e.st.rst()


def t_bomb():
    """A fork bomb: execs get in, and end it."""
    bomb = Exec(M, ["sh", "-c", "echo up; f() { f | f & }; f"])
    while not bomb.out[1]:
        bomb.step()
    end = time.monotonic() + 10
    while sh("echo in")[:2] == (0, b"in\n") and time.monotonic() < end:
        continue  # gets in at every moment
    assert time.monotonic() >= end
    assert sh("kill -9 -1; echo done")[1] == b"done\n"
    assert G.p.poll() is None
    end = time.monotonic() + 30
    while sh("(true); true")[0]:
        assert time.monotonic() < end, "still full"
    alive()


def t_files():
    e, words = greedy("files")
    assert words[2] in ("EMFILE", "ENOMEM"), words
    alive()
    assert run(M, "killall", "greedy")[0] == 0
    e.st.rst()


def t_ptys():
    held = [greedy("ptys")[0] for _ in range(3)]
    alive()
    assert run(M, "killall", "greedy")[0] == 0
    for e in held:
        e.st.rst()
    e = Exec(M, ["tty"], tty=True)
    assert e.wait() == 0


def t_sockets():
    e = Exec(M, ["/root/greedy", "sockets"])
    time.sleep(5)
    alive()
    run(M, "killall", "greedy")
    e.st.rst()


def t_ipc():
    """What outlives processes is less than the memory."""
    for what in ("shm", "msgs"):
        code, out, err = run(M, "/root/greedy", what)
        assert code == 0 and out.split()[2] == b"ENOSPC", (what, code, out, err)
    alive()
    run(M, "sh", "-c", "ipcs -q | while read k id r; do ipcrm -q $id; done;"
        "ipcs -m | while read k id r; do ipcrm -m $id; done")


def t_own_limits():
    """None is lifted from a cgroup namespace of the workload's own."""
    code, out, err = run(M, "/root/greedy", "cgroup")
    rows = {l.split()[0]: l.split()[1:] for l in out.decode().splitlines()}
    assert rows["mount"][0] == "0", (out, err)
    for name in ("pids.max", "memory.max", "cgroup.freeze", "cgroup.kill",
                 "rest/pids.max", "../pids.max"):
        assert rows["/tmp/cg/" + name][0] == "-1", rows
    assert rows["mkdir"][0] == "-1", rows
    alive()
    # nor by what a root may do elsewhere
    assert sh("ulimit -Hn 2000000")[0] != 0
    assert sh("echo -500 >/proc/self/oom_score_adj")[0] != 0


def t_terminal():
    """pid 1 waits for no terminal, however it is stopped."""
    # all of the agent's own descriptors are its own
    e, words = greedy("stop")
    assert words[1] == "0", words
    flood = Exec(M, ["sh", "-c", "echo up; cat /dev/zero >/dev/console"])
    while not flood.out[1]:
        flood.step()
    time.sleep(1)
    alive()
    assert call(M, "POST", "/v1/power", {"action": "off"})[0] == 202
    start = time.monotonic()
    G.p.wait(20)
    took = time.monotonic() - start
    assert took < 8, took


def t_poweroff():
    """What busybox sends its pid 1 ends the machine, in order."""
    for cmd, word in (("poweroff", b"Power down"), ("halt", b"Power down"),
                      ("reboot", b"Restarting system")):
        again()
        e = Exec(M, ["sh", "-c", "trap 'echo bye; exit 3' TERM; echo up;"
                     "while :; do sleep 0.1; done"])
        while not e.out[1]:
            e.step()
        # it may be among those that are told to end before it is done
        assert run(M, cmd)[0] in (0, 128 + signal.SIGTERM)
        assert e.wait() == 3 and b"bye" in e.out[1], e.out
        G.p.wait(15)
        G.pump()
        assert word in G.out, (cmd, G.out[-500:])


CASES = [t_memory, t_one_size, t_sleeps, t_bomb, t_files, t_ptys, t_sockets, t_ipc,
         t_own_limits, t_terminal, t_poweroff]


def again():
    """A guest, unless one runs."""
    global G, M
    if G is not None and G.p.poll() is None:
        return
    if G is not None:
        G.close()
    G = Guest()
    G.wait_line(b"mews-agent ready")
    M = Mux(G.connect())
    assert call(M, "PUT", "/v1/boot", spec())[0] == 200
    carry()


def main():
    global G
    bad = 0
    only = sys.argv[1:]
    for case in CASES:
        name = case.__name__[2:].replace("_", " ")
        if only and case.__name__ not in only:
            continue
        start = time.monotonic()
        try:
            again()
            case()
            print("ok %s" % name)
            print("  %.2f s" % (time.monotonic() - start))
        except Exception:
            bad += 1
            print("not ok %s" % name)
            traceback.print_exc(file=sys.stdout)
            if G is not None:
                G.pump()
                print(G.out.decode("utf-8", "replace")[-2000:])
                G.close()
                G = None
        sys.stdout.flush()
    if G is not None:
        G.close()
    return 1 if bad else 0


sys.exit(main())
