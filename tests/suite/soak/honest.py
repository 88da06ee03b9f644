"""Honest callers: each knows what its own VMs must be, and asks after every
answer whether that is so."""
import random
import time

import client
from client import Broken, Caller, Ended
from link import QUIET, STORM, Actor, Gate, pause

THINK = 0.35  # seconds between two requests of one caller, on average
API = "/api/v1/vms"
# kind: weight, and what it needs: a VM in that state, or room for one
OPS = {"create": (3, "room"), "delete": (2, "any"), "stop": (1, "running"),
       "start": (4, "stopped"), "exec": (8, "running"), "get": (5, "any"),
       "list": (4, None), "console": (1, "running"), "replay": (2, "replay"),
       "refused": (2, None), "exec-down": (1, "stopped"),
       "console-log": (1, "running")}


def exec_rows(rnd):
    """A program of the stand-in's agent: words, input, output, exit status."""
    text = "%x" % rnd.getrandbits(64)
    data = random.Random(rnd.random()).randbytes(rnd.randint(1, 60000))
    n, code = rnd.randint(1, 400000), rnd.randint(0, 255)
    return [(["echo", "soak", text], None, b"soak " + text.encode() + b"\n", 0),
            (["exit", str(code)], None, b"", code),
            (["cat"], data, data, 0),
            (["fill", str(n)], None, b"f" * n, 0)]


class Life(Actor):
    """Makes VMs and everything that can be done with them."""

    phases = (QUIET, STORM)

    def begin(self):
        self.c = Caller(self, self.env.sock)
        self.gate = Gate(self.shared)
        self.vms = {}  # name: what it must be
        self.done = []  # keyed requests that may be sent again
        self.made = 0

    # -- what must be true

    def verify(self, name):
        vm = self.vms.get(name)
        a = self.c.ask("get", "GET", "%s/%s" % (API, name))
        if a is None:
            return
        if vm is None:
            if a.status != 404:
                self.wrong("get", "404: %s is deleted" % name, a)
            return
        self.right("get", a, 200, vm)

    def right(self, kind, a, status, vm):
        if a.status != status:
            self.wrong(kind, "%d, %r" % (status, vm), a)
            return False
        got = a.json()
        for key in ("name", "status", "uid"):
            if vm.get(key) is not None and got[key] != vm[key]:
                self.wrong(kind, "%s %s of %r" % (key, vm[key], vm), got)
                # told once; it goes on from there
                if key == "status":
                    vm["status"] = got[key]
                    vm["odd"] = True
                return False
        return True

    # -- one request of each kind

    def create(self, _):
        name = "%s-%d" % (self.name, self.made)
        self.made += 1
        body = {"name": name, "image": "busybox", "cpu_cores": 1,
                "memory_mb": 96, "kernel_cmdline": "soak=" + name}
        vm = {"name": name, "status": "running", "uid": None, "starts": 0,
              "stops": 0}
        with self.gate.through():
            key = self.c.key()
            a = self.c.ask("create", "POST", API, body, key)
        self.vms[name] = vm
        if a is None:
            vm["odd"] = True
            return
        if self.right("create", a, 201, vm):
            vm["uid"] = a.json()["uid"]
            self.done.append((name, "create", "POST", API, body, key, 201))
        elif a.status != 201:
            del self.vms[name]

    def act(self, name, verb, count, then):
        vm = self.vms[name]
        key, target = self.c.key(), "%s/%s/%s" % (API, name, verb)
        with self.gate.through():
            a = self.c.ask(verb, "POST", target, None, key)
        if a is None:
            vm["odd"] = True
            return
        vm["status"] = then
        vm[count] += 1
        if self.right(verb, a, 200, vm):
            self.done.append((name, verb, "POST", target, None, key, 200))

    def start(self, name):
        self.act(name, "start", "starts", "running")

    def stop(self, name):
        self.act(name, "stop", "stops", "stopped")

    def delete(self, name):
        a = self.c.ask("delete", "DELETE", "%s/%s" % (API, name), None,
                       self.c.key())
        vm = self.vms.pop(name)
        self.done = [d for d in self.done if d[0] != name]
        if a is None:
            return
        if a.status != 204:
            self.wrong("delete", "204, %r" % vm, a)
            return
        self.reports.send("life", name=name, starts=vm["starts"],
                          stops=vm["stops"], odd=bool(vm.get("odd")))

    def get(self, name):
        pass  # each request is followed by one

    def list(self, _):
        a = self.c.ask("list", "GET", API)
        if a is None:
            return
        if a.status != 200:
            self.wrong("list", "200", a)
            return
        got = {v["name"]: v["status"] for v in a.json()}
        if int(a.headers.get("x-total-count", -1)) != len(a.json()):
            self.wrong("list", "X-Total-Count %d" % len(a.json()), a.headers)
        mine = {n: s for n, s in got.items()
                if n.startswith(self.name + "-")}
        want = {n: v["status"] for n, v in self.vms.items()
                if not v.get("odd")}
        if {n: s for n, s in mine.items()
                if n not in self.vms or not self.vms[n].get("odd")} != want:
            self.wrong("list", want, mine)

    def replay(self, _):
        """What was answered is asked again with its key: it acts once."""
        name, kind, method, target, body, key, status = self.rnd.choice(
            self.done)
        a = self.c.ask("replay", method, target, body, key)
        if a is None:
            return
        if self.right("replay", a, status, {"name": name,
                                            "uid": self.vms[name]["uid"]}):
            self.verify(name)

    def refused(self, _):
        """What cannot be is said to be so, and is not done."""
        rows = [("GET", API + "/soak-nobody", None, 404),
                ("DELETE", API + "/soak-nobody", None, 404),
                ("POST", API, {"name": "-"}, 400),
                ("GET", "/soak", None, 404), ("PUT", API, None, 405)]
        if self.vms:
            rows.append(("POST", API, {
                "name": self.rnd.choice(sorted(self.vms)),
                "image": "busybox", "memory_mb": 96}, 409))
        method, target, body, status = self.rnd.choice(rows)
        key = self.c.key() if method in ("POST", "DELETE") else None
        a = self.c.ask("refused", method, target, body, key)
        if a is not None and a.status != status:
            self.wrong("refused", "%s %s %r: %d" % (method, target, body,
                                                    status), a)

    def exec(self, name):
        cmd, data, out, code = self.rnd.choice(exec_rows(self.rnd))
        got = self.c.exec("exec", name, cmd, data)
        if got is None:
            return
        if not isinstance(got, Ended):
            self.wrong("exec", "%r in %r runs" % (cmd, self.vms[name]), got)
        elif got.code is None:
            self.c.actor.broken("exec", got.doc, self.last)
        elif (got.out, got.code) != (out, code):
            self.wrong("exec", "%r: status %d, %d bytes %r" % (
                cmd, code, len(out), out[:60]), got)

    def exec_down(self, name):
        got = self.c.exec("exec-down", name, ["echo"])
        if got is not None and getattr(got, "status", 200) != 409:
            self.wrong("exec-down", "409: %s is stopped" % name, got)

    def console(self, name):
        """What is typed comes back."""
        text = b"soak %x\n" % self.rnd.getrandbits(64)

        def once():
            ws = client.WebSocket(self.env.sock, "/ws/v1/vms/%s/console" % name)
            if ws.refused:
                ws.close()
                return ws.refused
            try:
                ws.send(text)
                got = b""
                while text not in got:
                    op, data = ws.recv()
                    if op == 8:
                        raise Broken("closed: %r" % data)
                    got += data
                return Ended(got, b"", {"status": "Success"})
            finally:
                ws.close()
        got = self.c.again("console", once, True, (500, 502, 504))
        if got is not None and not isinstance(got, Ended):
            self.wrong("console", "101: %r" % self.vms[name], got)

    def console_log(self, name):
        a = self.c.ask("console-log", "GET", "%s/%s/console-log" % (API, name))
        if a is None:
            return
        want = b"stand-in guest"
        if a.status != 200 or want not in a.body:
            self.wrong("console-log", "200 with %r" % want, a)

    # -- the caller's day

    def fits(self, need):
        """Names of VMs for a kind; [None] where it needs none; [] not now."""
        room = len(self.vms) < self.args["vms"]
        if need is None:
            return [None]
        if need == "room":
            return [None] if room else []
        if need == "replay":
            return [None] if self.done else []
        return [n for n, v in self.vms.items()
                if not v.get("odd") and need in ("any", v["status"])]

    def step(self):
        # what went wrong once is told once, and gone
        for name in [n for n, v in self.vms.items() if v.get("odd")]:
            self.delete(name)
        may = {k: self.fits(need) for k, (_, need) in OPS.items()}
        kinds = [k for k in OPS if may[k]]
        kind = self.rnd.choices(kinds, [OPS[k][0] for k in kinds])[0]
        name = self.rnd.choice(may[kind])
        self.last = time.monotonic()
        before = set(self.vms)
        getattr(self, kind.replace("-", "_"))(name)
        changed = name or next(iter(set(self.vms) - before), None)
        if changed is not None:
            self.verify(changed)
        del self.done[:-12]
        pause(self.rnd.expovariate(1 / THINK))

    def end(self):
        for name in list(self.vms):
            self.delete(name)
            self.verify(name)


class Reader(Actor):
    """Asks what changes nothing; every answer has its shape."""

    phases = (QUIET, STORM)

    def begin(self):
        self.c = Caller(self, self.env.sock)

    def step(self):
        target, kind, check = self.rnd.choice((
            ("/healthz", "read", lambda a: a.json() == {"status": "ok"}),
            ("/openapi", "read", lambda a: a.json()["openapi"] == "3.0.3"),
            ("/api/v1/system/doctor", "read", lambda a: len(a.body) > 2),
            (API + "?status=running&limit=3", "read", lambda a: len(
                a.json()) <= 3 and all(v["status"] == "running"
                                       for v in a.json())),
            (API + "?sort=name&order=desc", "read", lambda a: [
                v["name"] for v in a.json()] == sorted(
                    (v["name"] for v in a.json()), reverse=True))))
        a = self.c.ask(kind, "GET", target)
        if a is not None and (a.status != 200 or not check(a)):
            self.wrong(kind, target + ": 200 in its shape", a)
        pause(self.rnd.expovariate(1 / THINK))
