#!/usr/bin/env python3
"""The guest half on a bare hypervisor: boot, channel, HTTP, exec, power."""
import os
import random
import subprocess
import sys
import time
import traceback

from guest import (B, SYN, WIN, Exec, Gone, Guest, Mux, Stream, call,
                      run, spec)  # noqa: E402
from wire import BOOT_SPEC_VERSION, FRAME_RESIZE, FRAME_STDIN, FRAME_STDOUT

G = None
M = None


def t_ready():
    G.wait_line(b"mews-agent ready")


def t_before_spec():
    status, body = call(M, "GET", "/healthz")
    assert status == 200 and body["ready"] is False and body["pid"] == 1, body
    for path, method in (("/v1/exec", "POST"), ("/v1/stats", "GET"), ("/x", "GET")):
        assert call(M, method, path)[0] == 503, path


def t_bad_spec():
    assert call(M, "PUT", "/v1/boot", {"version": BOOT_SPEC_VERSION})[0] == 400
    assert call(M, "PUT", "/v1/boot", spec(version=BOOT_SPEC_VERSION + 1))[0] == 400
    assert call(M, "PUT", "/v1/boot", spec(hostname="../x"))[0] == 400


def t_boot():
    assert call(M, "GET", "/healthz")[1]["boot_spec"] == BOOT_SPEC_VERSION
    # a newer orchd may say more
    assert call(M, "PUT", "/v1/boot", spec(surprise={"a": [1]})) == (
        200, {"ready": True})
    assert call(M, "PUT", "/v1/boot", spec())[0] == 409
    assert call(M, "GET", "/healthz")[1]["ready"] is True


def t_identity():
    code, out, _ = run(M, "sh", "-c", "hostname; echo $GREETING; date +%Y;"
                       "ip -4 -o addr show eth0; cat /etc/resolv.conf; ip route")
    for want in (b"bird\n", b"hello there\n", b"2030\n", b"10.0.2.15/24",
                 b"nameserver 10.0.2.3", b"via 10.0.2.2"):
        assert want in out, (want, out)


def t_http():
    assert call(M, "GET", "/nowhere")[0] == 404
    assert call(M, "DELETE", "/healthz")[0] == 405
    assert call(M, "POST", "/v1/exec", {"cmd": ["true"]})[0] == 426
    st = M.open()
    assert [st.request("GET", "/healthz")[0] for _ in range(3)] == [200] * 3
    st.write(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
    assert b"400" in st.until(b"\r\n\r\n")


def t_ports():
    for line in (b"CONNECT 1\n", b"CONNECT 99999\n", b"GET / HTTP/1.1\n",
                 b"C" * 100):
        raw = Stream(M, M.next)  # without the good line
        M.next += 2
        M.streams[raw.id] = raw
        M.send(WIN, SYN, raw.id, 0)
        try:
            raw.write(line)
            raw.until(b"\n")
        except Gone:
            continue
        raise AssertionError(line)


def t_exit_codes():
    rows = [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["nosuch"], 127),
            (["/etc/passwd"], 126), (["sh", "-c", "kill -9 $$"], 137),
            (["sh", "-c", "kill -15 $$"], 143)]
    for cmd, want in rows:
        code = run(M, *cmd)[0]
        assert code == want, (cmd, code)


def t_path():
    """A program is found as execvp(3) finds it."""
    rows = [("PATH=/tmp/a:/tmp/b", ["prog"], 3), ("PATH=/tmp/b", ["prog"], 4),
            ("PATH=/tmp/no:/tmp/b", ["prog"], 4), ("PATH=/tmp/no", ["prog"], 127),
            ("PATH=/tmp/c", ["prog"], 126), ("PATH=/tmp/c:/tmp/b", ["prog"], 4),
            ("PATH=", ["tmp/b/prog"], 4), ("PATH=/tmp/a", [""], 127),
            ("PATH=", ["script", "6"], 6), ("A=b", ["/tmp/script", "5"], 5)]
    assert run(M, "sh", "-c", "cd /tmp; mkdir a b c; echo 'exit $1' >script;"
               "for i in a:3 b:4 c:5; do printf '#!/bin/sh\nexit %s\n' ${i#*:} "
               ">${i%:*}/prog; chmod +x ${i%:*}/prog; done; chmod +x script;"
               "chmod -x c/prog")[0] == 0
    for env, cmd, want in rows:
        code, _, err = run(M, *cmd, env=[env], cwd="/tmp" if "/" not in cmd[0] else "/")
        assert code == want, (env, cmd, code, err)


def t_streams():
    code, out, err = run(M, "sh", "-c", "echo one; echo two >&2; echo three")
    assert (code, out, err) == (0, b"one\nthree\n", b"two\n"), (code, out, err)


def t_stdin():
    data = bytes(range(256)) * 4096  # 1 MiB, more than a window
    e = Exec(M, ["sh", "-c", "md5sum; echo done"], stdin=True)
    for i in range(0, len(data), 60000):
        e.frame(FRAME_STDIN, data[i:i + 60000])
    e.end_stdin()
    assert e.wait() == 0
    import hashlib
    assert hashlib.md5(data).hexdigest().encode() in e.out[FRAME_STDOUT], e.out


def t_echo():
    e = Exec(M, ["cat"], stdin=True)
    for word in (b"first", b"second"):
        e.frame(FRAME_STDIN, word)
        while not e.out[FRAME_STDOUT].endswith(word):
            e.step()
    e.st.fin()  # the stream's half-close is stdin's too
    assert e.wait() == 0 and e.out[FRAME_STDOUT] == b"firstsecond"


def t_large_output():
    code, out, _ = run(M, "dd", "if=/dev/zero", "bs=64k", "count=160")
    assert code == 0 and len(out) == 10 << 20, len(out)


def t_slow_reader():
    slow = Exec(M, ["cat", "/dev/zero"])
    while len(slow.out[FRAME_STDOUT]) < 1000:
        slow.step()
    # nobody reads it any more, and others are served
    assert run(M, "echo", "hi")[1] == b"hi\n"
    slow.st.rst()


def t_two_at_once():
    a, b = Exec(M, ["cat"], stdin=True), Exec(M, ["cat"], stdin=True)
    b.frame(FRAME_STDIN, b"B")
    a.frame(FRAME_STDIN, b"A")
    for e in (a, b):
        e.end_stdin()
        assert e.wait() == 0
    assert (a.out[FRAME_STDOUT], b.out[FRAME_STDOUT]) == (b"A", b"B")


def count(name):
    return int(run(M, "sh", "-c", "ps | grep -c '[0-9] root  *%s'; true" % name)[1])


def t_reset_kills():
    e = Exec(M, ["sh", "-c", "sleep 1111 & echo up; sleep 2222"])
    while not e.out[FRAME_STDOUT]:
        e.step()
    assert count("sleep") == 2
    e.st.rst()
    end = time.monotonic() + 20
    while count("sleep"):
        assert time.monotonic() < end, "still there"


def t_reset_kills_sessions():
    """setsid(2) leaves the process group, not the exec's cgroup."""
    e = Exec(M, ["sh", "-c", "setsid sleep 1111 & setsid sh -c "
                 "'sleep 2222 & sleep 3333' & echo up; sleep 4444"])
    while not e.out[FRAME_STDOUT]:
        e.step()
    end = time.monotonic() + 20
    while count("sleep") < 4:
        assert time.monotonic() < end, "not started"
    e.st.rst()
    while count("sleep"):
        assert time.monotonic() < end + 20, "still there"


def t_left_behind_stays():
    """What an ended exec left behind survives the next one's reset."""
    code, out, _ = run(M, "sh", "-c", "setsid sleep 3333 & echo up")
    assert (code, out) == (0, b"up\n")
    e = Exec(M, ["sh", "-c", "echo up; sleep 4444"])
    while not e.out[FRAME_STDOUT]:
        e.step()
    e.st.rst()
    end = time.monotonic() + 20
    while count("sleep 4444"):
        assert time.monotonic() < end, "still there"
    assert count("sleep 3333") == 1
    run(M, "killall", "sleep")


def t_left_behind():
    code, out, _ = run(M, "sh", "-c", "sleep 3333 & echo up")
    assert (code, out) == (0, b"up\n")
    run(M, "killall", "sleep")


def t_stopped_at_birth():
    """The workload may stop an exec that is not yet its program, not the
    agent; and sees nothing of the agent's memory in it."""
    bad = Exec(M, ["sh", "-c", "echo up; while :; do kill -STOP -1;"
                   "for p in /proc/[0-9]*; do d=; l=; read -r d <$p/comm;"
                   'if [ "$d$p" != init/proc/1 ] && [ "$d" = init ]; then'
                   "  (read -rn1 x <$p/maps) && l=$l-maps;"
                   "  (read -rn1 x <$p/environ) && l=$l-environ;"
                   "  d=; read -r d <$p/comm;"
                   # still not its program: what was read was the agent's
                   '  [ "$d" = init ] && echo caught${l:+ leak$l};'
                   "  kill -9 ${p#/proc/}; fi; done; done 2>/dev/null"])
    while bad.out[FRAME_STDOUT] != b"up\n":
        bad.step()
    held = []
    end = time.monotonic() + 60
    while bad.out[FRAME_STDOUT].count(b"caught") < 30:
        assert time.monotonic() < end, "none was caught"
        held.append(Exec(M, ["true"]))
        assert call(M, "GET", "/healthz")[0] == 200
        if len(held) > 40:
            held.pop(0).st.rst()
        bad.st.got and bad.step()
    assert call(M, "GET", "/healthz")[0] == 200
    bad.st.rst()
    for e in held:
        e.st.rst()
    while count("init") > 1:
        assert time.monotonic() < end, "left behind"
    assert b"leak" not in bad.out[FRAME_STDOUT] + bad.st.got, bad.out


def t_full_of_processes():
    """At its limit of processes the workload can be entered, and helped."""
    code, _, err = run(M, "sh", "-c", "mkfifo /tmp/f; while :; do"
                       " (read x </tmp/f) & done")
    assert code and b"can't fork" in err, (code, err)
    # one has the reserve, and may start what it needs to help
    one = Exec(M, ["sh", "-c", "(true); echo up; read x"], stdin=True)
    while not one.out[1]:
        one.step()
    # the others get in, no more
    assert run(M, "true")[0] == 0
    assert b"can't fork" in run(M, "sh", "-c", "(true); true")[2]
    one.frame(255, b"\0")
    one.wait()
    assert run(M, "killall", "-9", "sh")[0] == 0
    end = time.monotonic() + 20
    while run(M, "sh", "-c", "(true); true")[0]:
        assert time.monotonic() < end, "still full"


def t_limit():
    """Those whose clients are gone count until they have ended, and make place."""
    many = [Exec(M, ["cat"], stdin=True) for _ in range(100)]
    gone = [Exec(M, ["sh", "-c", "trap '' TERM; echo; sleep 60"])
            for _ in range(28)]
    assert all(e.status == 101 for e in many + gone)
    for e in gone:
        while not e.out[FRAME_STDOUT]:
            e.step()
    for e in gone:
        e.st.rst()
    assert call(M, "GET", "/v1/stats")[1]["execs"] == 128
    assert run(M, "true")[0] == 0
    for e in many:
        e.st.rst()
    end = time.monotonic() + 30
    while Exec(M, ["true"]).status != 101:
        assert time.monotonic() < end


def t_tty():
    e = Exec(M, ["sh", "-c", "tty; read x; stty size"], tty=True, stdin=True)
    e.frame(FRAME_RESIZE, b'{"Width":77,"Height":33}')
    e.frame(FRAME_STDIN, b"go\n")
    assert e.wait() == 0
    assert b"/dev/pts/" in e.out[FRAME_STDOUT] and b"33 77" in e.out[FRAME_STDOUT], e.out


def t_confined():
    rows = [
        ("the agent is no process here", "test $(cat /proc/[0-9]*/comm | grep -cx init) = 1"),
        ("no device nodes", "! mknod /tmp/x c 1 1"),
        ("no mount", "! mount -t devtmpfs d /tmp"),
        ("no unmount", "! umount /proc/sys"),
        ("no reboot", "! reboot -f; ! poweroff -f"),
        ("no sysctl", "! echo x > /proc/sys/kernel/core_pattern"),
        ("no sysrq", "! echo b > /proc/sysrq-trigger"),
        ("no port", "! ls /dev/vport* /dev/hvc*"),
        ("pid 1 stays", "kill -9 1; kill -0 1"),
        ("no look into pid 1", "! cat /proc/1/environ; ! ls /proc/1/root/"),
        ("no old root", "cd /proc/1/cwd 2>/dev/null; ! ls /run/root"),
        ("no block device", "! ls /dev/vda"),
        ("no raw kernel", "! head -c1 /dev/mem; test -z \"$(head -c1 /proc/kcore)\""),
        ("no way out by chroot", "! chroot /tmp/../.. test -e /lib/modules"),
    ]
    for name, text in rows:
        code, out, err = run(M, "sh", "-c", text)
        assert code == 0, (name, out, err)


def reconnect():
    global M
    M.s.close()
    M = Mux(G.connect())


def t_resync():
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    rnd = random.Random(seed)
    for _ in range(20):
        e = Exec(M, ["cat"], stdin=True)
        data = os.urandom(40000)
        raw = b"\0\0\0\0" + e.st.id.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data
        M.s.sendall(raw[:rnd.randrange(1, len(raw))])
        reconnect()
        assert call(M, "GET", "/healthz")[0] == 200
    end = time.monotonic() + 20
    while count("cat"):  # with their streams went the processes
        assert time.monotonic() < end, "left behind"


def t_cut_in_hello():
    for n in (1, 11, 12, 13, 5000, 65559, 65561, 65567, 65571, 65586):
        M.s.close()
        s = G.connect()
        s.sendall((b"\0" * 65559 + b"MEWSHELO\0\0\0\1" + b"n" * 16)[:n])
        s.close()
        reconnect()
    assert call(M, "GET", "/healthz")[0] == 200


def t_garbage():
    for junk in (b"\xff" * 100, os.urandom(5000), b"GET / HTTP/1.1\r\n\r\n" * 50):
        M.s.sendall(junk)
        reconnect()
        assert call(M, "GET", "/healthz")[0] == 200


def t_power():
    assert call(M, "POST", "/v1/power", {"action": "explode"})[0] == 400
    Exec(M, ["sleep", "1000"])
    assert call(M, "POST", "/v1/power", {"action": "off"})[0] == 202
    G.p.wait(30)
    G.pump()
    assert G.p.returncode == 0 and b"Power down" in G.out, G.out[-500:]


def t_stage():
    """The staged tree alone is enough to boot: nothing of the host is there."""
    root = B + "/stage/current"
    khz = int(subprocess.check_output([B + "/tsc-khz"]))
    p = subprocess.Popen(
        ["unshare", "-n", "chroot", root, "/usr/bin/qemu-system-x86_64",
         "-M", "microvm,acpi=on", "-accel", "tcg,tb-size=32", "-cpu", "max",
         "-m", "128", "-nodefaults", "-no-user-config", "-display", "none",
         "-no-reboot", "-bios", "/boot/firmware", "-kernel", "/boot/vmlinuz",
         "-initrd", "/boot/initramfs",
         "-append", "console=ttyS0 quiet panic=-1 tsc_early_khz=%d tsc=reliable" % khz,
         "-serial", "stdio"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = b""
    try:
        while b"mews-agent ready" not in out:
            got = os.read(p.stdout.fileno(), 4096)
            assert got, out
            out += got
    finally:
        p.kill()
        p.wait()


CASES = [t_ready, t_before_spec, t_bad_spec, t_boot, t_identity, t_http, t_ports,
         t_exit_codes, t_path, t_streams, t_stdin, t_echo, t_large_output, t_slow_reader,
         t_two_at_once, t_reset_kills, t_reset_kills_sessions,
         t_left_behind, t_left_behind_stays, t_stopped_at_birth,
         t_full_of_processes, t_limit, t_tty, t_confined,
         t_resync, t_cut_in_hello, t_garbage, t_power, t_stage]


def main():
    global G, M
    bad = 0
    G = Guest()
    try:
        for case in CASES:
            name = case.__name__[2:].replace("_", " ")
            start = time.monotonic()
            try:
                if M is None and case is not t_ready:
                    M = Mux(G.connect())
                case()
                print("ok %s" % name)
                print("  %.2f s" % (time.monotonic() - start))
            except Exception:
                bad += 1
                print("not ok %s" % name)
                traceback.print_exc(file=sys.stdout)
                if M is not None and G.p.poll() is None:
                    M.s.close()
                    M = None
            sys.stdout.flush()
    finally:
        G.pump()
        if bad:
            print(G.out.decode("utf-8", "replace")[-3000:])
        G.close()
    return 1 if bad else 0


sys.exit(main())
