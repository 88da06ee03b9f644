#!/usr/bin/env python3
"""`make demo`: a real microVM does work through separated, confined rooms.

Everything happens in namespaces of its own with a root on a private tmpfs:
Ctrl-C or kill -9 of this program ends and removes all of it.  Exit 0 only if
every line below is true; the first that is not ends it with the logs.
"""
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "suite"))
import suite  # noqa: E402

VMS = ("web", "db")
CAPS = {1 << n: name for n, name in (
    (0, "chown"), (5, "kill"), (6, "setgid"), (7, "setuid"), (8, "setpcap"),
    (12, "net_admin"), (19, "sys_ptrace"), (21, "sys_admin"), (27, "mknod"))}
CANARY = 53  # a name server: what a guest would ask
START = time.monotonic()


def say(text):
    print("%6.2fs  %s" % (time.monotonic() - START, text), flush=True)


def need(ok, what):
    if not ok:
        raise AssertionError(what)


def guest(s, vm, script, ok=True):
    p = s.cli("exec", vm, "sh", "-c", script)
    if ok:
        need(p.returncode == 0, "in %s: %s: %s" % (vm, script, p.stderr))
    return p.stdout.decode()


def caps_of(mask):
    if mask == 0:
        return "none"
    names = [n for bit, n in CAPS.items() if mask & bit]
    return "all" if bin(mask).count("1") > 20 else ",".join(names)


def room_of(line):
    """The room a process of the suite is, by its title or program."""
    for sign, name in (("qemu-system", "hypervisor"), ("mews-keeper", "keeper"),
                       ("mews-warden", "warden"), ("/mewsd ", "mewsd"),
                       ("mews-spawner", "spawner"), ("mews-launchd", "launchd"),
                       ("mews-netd", "netd")):
        if sign in line:
            return name
    if line.startswith("mews: "):
        return line.split()[1]
    return None


def who_is_there(s):
    """One line per process: user, capabilities, seccomp, from /proc."""
    for pid, line in sorted(suite.processes().items()):
        name = room_of(line)
        if name is None:
            continue
        st = suite.status(pid)
        uid = int(st["Uid"].split()[0])
        say("  %-10s pid %-4d %-14s caps %-52s seccomp %s, %s filters" % (
            name, pid, "root" if uid == 0 else
            "vm slot %d" % (uid - s.uids - suite.VM_FIRST)
            if uid >= s.uids + suite.VM_FIRST else "uid %d" % uid,
            caps_of(int(st["CapEff"], 16)), st["Seccomp"],
            st.get("Seccomp_filters", "?")))
        need(st["Seccomp"] == "2", name + " has no filter")
        need(uid != 0 or name in ("mewsd", "spawner"), name + " runs as root")


# -- what must not be reached ----------------------------------------------

class Canary:
    """Listens for a datagram where no guest may send one."""

    def __init__(self, addr):
        self.addr = addr
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((addr, CANARY))

    def heard(self, s, wait=0.7):
        self.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.sock.recv(100)  # what came before
        guest(s, "web", "timeout 1 nslookup tweet.test " + self.addr, ok=False)
        self.sock.settimeout(wait)
        with contextlib.suppress(TimeoutError):
            self.sock.recv(100)
            return True
        return False


def rules_off():
    """What netd does, undone by hand: rules, isolation, localnet guard."""
    suite.sh("nft", "flush", "ruleset")
    with open("/proc/sys/net/ipv4/conf/%s/route_localnet" % suite.BRIDGE, "w") as f:
        f.write("1")
    for tap in taps():
        suite.sh("bridge", "link", "set", "dev", tap, "isolated", "off", "flood",
                 "on", "bcast_flood", "on", "mcast_flood", "on", "learning", "on")


def taps():
    return [l.split(":")[1].strip() for l in suite.sh(
        "ip", "-o", "link").splitlines() if l.split(":")[1].strip()[:2] == "mw"
        and l.split(":")[1].strip()[2:].isdigit()]


def reach(s, canaries, db_ip):
    found = {c.addr: c.heard(s) for c in canaries}
    found["the other VM"] = "page of db" in guest(
        s, "web", "timeout 3 wget -qO- http://%s/" % db_ip, ok=False)
    return found


def isolation(s, db_ip):
    canaries = [Canary(a) for a in (suite.GW, suite.UP_ADDR, "127.0.0.1")]
    # the guest's own loopback must not swallow what is for the host's
    guest(s, "web", "ip addr flush dev lo; ip link set lo down;"
                    "ip route add 127.0.0.1/32 via %s" % suite.GW)
    rules_off()
    off = reach(s, canaries, db_ip)
    need(all(off.values()), "control: not reached with the rules off: %s" % off)
    say("rules off, web reaches: " + ", ".join(off))
    netd = s.rooms()["netd"]
    os.kill(netd, signal.SIGKILL)
    suite.wait_for(lambda: s.rooms().get("netd", netd) != netd and
                   "mews" in suite.sh("nft", "list", "tables"), "rules again")
    s.wait_helpers()
    on = reach(s, canaries, db_ip)
    need(not any(on.values()), "reached: %s" % on)
    say("netd killed, restarted, rules back: web reaches none of them")


# -- the story -------------------------------------------------------------

def uptime(s, vm):
    return float(guest(s, vm, "cut -d' ' -f1 /proc/uptime"))


def kill_all(s):
    before = {vm: uptime(s, vm) for vm in VMS}
    pids = set(s.rooms().values())
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    s.proc.wait()
    t = time.monotonic()
    s.start()
    up = time.monotonic() - t
    for vm in VMS:
        s.wait_ready(vm)
        need(uptime(s, vm) > before[vm], "%s was restarted" % vm)
    say("kill -9 of all %d daemons: API back %.0f ms after mewsd's start, uptimes"
        " go on (web %.1f s)" % (len(pids), up * 1000, uptime(s, "web")))
    need(up < 1, "the API took longer than a second")


def story(s, world):
    s.start()
    say("suite is up: mewsd -r %s, API on %s" % (s.root, s.sock))
    ips = {}
    for vm in VMS:
        t = time.monotonic()
        a = s.create(vm)
        need(a.status == 201, a)
        made = time.monotonic() - t
        s.wait_ready(vm)
        ips[vm] = a.json()["ip_address"]
        say("POST /api/v1/vms %s: 201 after %.0f ms, agent ready after %.2f s, %s"
            % (vm, made * 1000, time.monotonic() - t, ips[vm]))
    view = s.get("/api/v1/vms/web").json()
    say("read back by the spawner: verified %s, accelerator %s, cgroup %s" % (
        view["confinement"]["verified"], view["accel"],
        view["confinement"].get("cgroup")))
    need(view["confinement"]["verified"] is True, "not verified")
    who_is_there(s)
    p = s.cli("exec", "web", "uname", "-a")
    need(p.returncode == 0 and b"Linux web" in p.stdout, p)
    say("$ mews exec web uname -a\n         " + p.stdout.decode().strip())
    page = guest(s, "web", "wget -qO- http://%s:8000/" % suite.WORLD)
    need(page == "page of the world\n", page)
    say("web fetched a page from %s, beyond the bridge, by NAT" % suite.WORLD)
    for vm in VMS:
        guest(s, vm, "mkdir /www; echo page of %s > /www/index.html;"
                     "httpd -p 80 -h /www" % vm)
    with contextlib.closing(socket.create_connection((ips["db"], 80), 5)) as c:
        c.sendall(b"GET / HTTP/1.0\r\n\r\n")
        data = b""
        while chunk := c.recv(4096):
            data += chunk
    need(b"page of db" in data, data)
    say("the host fetched a page that db serves")
    isolation(s, ips["db"])
    p = s.cli("logs", "--console", "web")
    need(b"mews-agent ready" in p.stdout, p)
    say("$ mews logs --console web | tail -1\n         " +
        p.stdout.decode().strip().splitlines()[-1])
    kill_all(s)
    p = s.cli("rm", "-f", *VMS)
    need(p.returncode == 0, p)
    s.stop()
    left = suite.leaks(s) + [n for n in suite.sh("nft", "list", "tables").splitlines()]
    left += [room_of(l) for l in suite.processes().values() if room_of(l)]
    if suite.BRIDGE in suite.sh("ip", "-o", "link"):
        left.append(suite.BRIDGE)
    need(not left, "left behind: %s" % left)
    say("deleted, stopped; left behind: no tap, rule, process, mount, file; "
        "cgroups were not used")


def main():
    suite.enter()
    os.mkdir("/tmp/www")
    with open("/tmp/www/index.html", "w") as f:
        f.write("page of the world\n")
    world = subprocess.Popen(
        ["ip", "netns", "exec", "world", sys.executable, "-m", "http.server",
         "-d", "/tmp/www", "8000"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    s = suite.Suite(accel=os.environ.get("MEWS_ACCEL", "auto"), log_level="info")
    try:
        story(s, world)
    except BaseException as e:
        print(s.logs(), file=sys.stderr)
        print("demo: failed: %s" % e, file=sys.stderr)
        return 1
    finally:
        world.kill()
    say("all of it happened")
    return 0


sys.exit(main())
