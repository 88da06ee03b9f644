#!/usr/bin/env python3
"""Small faults in the C that keeps the promises: does a test see each?

usage: [N=COUNT] [S=SEED] [F=FILE...] mutants.py [--list] [--unit] [SECONDS]

A mutant is the tree with one place of one file changed: an operator, a
constant, a call or an assignment taken out, an error not returned, a condition
turned round.  The tests of GUARDS run on it, the fast ones first, until one
fails.  A mutant that does not compile, or is the code of another, is none.

N of them by the seed S (40; 0: all), of the file F or of all; after so
many SECONDS no other is begun.  One that lives in a file of KEPT is "not ok",
unless tests/mutants.equivalent says why no test can see it; one of SEEN is
noted.  --list only says what the mutants are, --unit runs fast unit tests alone.
"""
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EQUIVALENT = os.path.join(TOP, "tests/mutants.equivalent")
COUNT = 40
FIRST = 5  # seconds that any test has, and as much of its own time again
PYTHON = ("orchd/orchd_test", "orchd/orchd_store_test", "orchd/orchd_said_test")
MEMORY = 8 << 30  # a loop that does not end takes no more

# Each call that fails, in half a minute; then real processes.
STORE = ("orchd/power_test", *PYTHON)
# file: (fast unit tests, what takes longer)
# in these none lives
KEPT = {
    "orchd/object/object.c": (("orchd/wait_test", "orchd/write_test",
                               "orchd/vm_converge_test"), PYTHON),
    "orchd/object/wait.c": (("orchd/wait_test", "orchd/write_test",
                             "orchd/vm_converge_test"), PYTHON),
    "orchd/object/write.c": (("orchd/write_test", "orchd/write_fails_test",
                              "orchd/vm_converge_test",
                              "orchd/vm_orphan_test"), PYTHON),
    "orchd/object/idem.c": (("orchd/idem_test",), PYTHON),
    "orchd/vm/vm_converge.c": (("orchd/vm_converge_test",
                                "orchd/vm_orphan_test",
                                "orchd/vm_facts_test",
                                "orchd/vm_temporary_test"), PYTHON),
    "orchd/vm/vm_step.c": (("orchd/vm_converge_test", "orchd/vm_facts_test"),
                           PYTHON),
    "orchd/vm/vm_fsm.c": (("orchd/vm_fsm_test", "orchd/vm_converge_test"),
                          PYTHON),
    "orchd/vm/part.c": (("orchd/vm_part_test", "orchd/vm_converge_test"),
                        PYTHON),
    "orchd/link/passing.c": (("orchd/passing_test",), ()),
    "orchd/vm/queue.c": (("orchd/queue_test",),
                         ("orchd/orchd_queue_test",)),
    "orchd/vm/stream.c": (("orchd/vm_stream_test",),
                          ("orchd/orchd_queue_test", *PYTHON)),
    "orchd/vm/orphan.c": (("orchd/vm_orphan_test",),
                          ("orchd/orchd_orphans_test",)),
    "orchd/vm/temporary.c": (("orchd/vm_temporary_test",
                              "orchd/vm_converge_test"),
                             ("orchd/orchd_temporary_test",)),
    "orchd/sql.c": (("orchd/sql_test", "orchd/sql_read_test",
                     "orchd/store_test"), STORE),
    "orchd/store.c": (("orchd/store_batch_test", "orchd/store_test"), STORE),
    "orchd/batch.c": (("orchd/store_batch_test", "orchd/store_test"), STORE),
    "orchd/txn.c": (("orchd/store_batch_test", "orchd/store_test"), STORE),
    "orchd/chain.c": (("orchd/sql_audit_test",), ()),
    "orchd/sql_audit.c": (("orchd/sql_audit_test",), STORE),
    "orchd/rows.c": (("orchd/rows_test", "orchd/sql_test",
                      "orchd/sql_read_test"), ("orchd/stored_test", *PYTHON)),
    "orchd/api/reader.c": (("orchd/reader_test",), PYTHON),
    "apid/client.c": (("apid/client_test", "apid/client_run_test"),
                      ("apid/apid_test", "apid/apid_refuses_test",
                       "apid/apid_streams_test")),
    "apid/stream.c": (("apid/stream_test", "apid/stream_exec_test"),
                      ("apid/apid_streams_test", "apid/apid_test",
                       "apid/apid_events_test")),
    "agent/gate.c": (("agent/gate_test",), ()),
    "apid/outbuf.c": (("apid/outbuf_test",), ()),
    "common/share.c": (("common/share_test",), ()),
    "launchd/fsm.c": (("launchd/launchd_fsm_test",
                       "launchd/launchd_life_test"), ()),
    "launchd/life.c": (("launchd/launchd_facts_test",
                        "launchd/launchd_life_test",
                        "launchd/launchd_unknown_test"), ()),
    "launchd/stop.c": (("launchd/launchd_stop_test",), ()),
}
# in these what lives is told
SEEN = {f: (u, ()) for f, u in {
    "agent/oom.c": ("agent/oom_test",),
    "launchd/history.c": ("launchd/history_test",),
    "mewsd/watch.c": ("mewsd/look_test",),
    "netd/policy.c": ("netd/net_policy_test",),
    "spawner/record.c": ("spawner/record_test",),
    "warden/gclock.c": ("warden/gclock_test",),
}.items()}
GUARDS = {**KEPT, **SEEN}
PROGRAMS = {"orchd": "build/mews-orchd", "apid": "build/mews-apid"}

SWAPS = {"==": "!=", "!=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">",
         "&&": "||", "||": "&&", "+=": "-=", "-=": "+=", "|=": "&="}
BOUND = r"\b[A-Z][A-Z0-9_]*_(?:MAX|MIN|MS|S|NS|BATCH|ROUNDS|BYTES)\b"
CALL = re.compile(r"^\t+(\(void\))?[a-z]\w*\(", re.M)
ASSIGN = re.compile(r"^\t+[*\w.>\[\]-]+ = [^;{}]*;", re.M)
QUIET = re.compile(r"\b(?:log_\w+|assert|static_assert|_Static_assert)\(")
# what the store is asked for in words
WORDS = (("synchronous = FULL", "synchronous = OFF"),)


def blank(text):
    """The text with nothing but spaces for comments, strings and directives."""
    def spaces(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|'
                  r"^#(?:[^\n]*\\\n)*[^\n]*", spaces, text, flags=re.S | re.M)


def close(code, at):
    """Behind the bracket that ends the one at `at`."""
    depth = 0
    for i in range(at, len(code)):
        depth += (code[i] == "(") - (code[i] == ")")
        if depth == 0:
            return i + 1
    return len(code)


def places(code):
    """(begin, end, what stands there instead) in a body; None: nothing."""
    for m in re.finditer(r"(?<= )(==|!=|<=|>=|<|>|&&|\|\||\+=|-=|\|=)(?=\s)",
                         code):
        yield m.start(), m.end(), SWAPS[m.group(0)]
    for m in re.finditer(r"\+\+|--", code):
        yield m.start(), m.end(), "--" if m.group(0) == "++" else "++"
    # room for more than is used is no fault
    for m in re.finditer(r"(?<![\w.-])(?<!calloc\()\d+\b", code):
        if not re.search(r"\bchar \w+\[[\w +]*$", code[:m.start()][-60:]):
            yield m.start(), m.end(), str(int(m.group(0)) + 1)
    for m in re.finditer(BOUND, code):
        yield m.start(), m.end(), "(%s * 2)" % m.group(0)
        yield m.start(), m.end(), "(%s - 1)" % m.group(0)
    for m in re.finditer(r"\breturn (-E[A-Z]+|true|false);", code):
        yield m.start(1), m.end(1), {"true": "false", "false": "true"}.get(
            m.group(1), "0")
    for m in re.finditer(r"\bif (?=\()", code):
        yield m.end(), close(code, m.end()), "(!%s)"
    for m in CALL.finditer(code):
        end = close(code, m.end() - 1)
        if code[end:end + 1] == ";":
            yield m.start() + len(re.match(r"\t+", m.group(0)).group(0)), \
                end, None
    for m in ASSIGN.finditer(code):
        tabs = len(re.match(r"\t+", m.group(0)).group(0))
        yield m.start() + tabs, m.end() - 1, None


class Mutant:
    def __init__(self, path, text, begin, end, new):
        old = text[begin:end]
        if new is None:  # as many lines as before: they are in messages
            new = "\n" * old.count("\n")
        elif "%s" in new:
            new %= old
        self.path, self.text = path, text[:begin] + new + text[end:]
        self.line = text.count("\n", 0, begin) + 1
        first, last = text.rfind("\n", 0, begin) + 1, text.find("\n", end)
        self.was = " ".join(text[first:last].split())
        self.now = " ".join((text[first:begin] + new + text[end:last]).split())

    def __str__(self):
        return "%s:%d: %s  =>  %s" % (self.path, self.line, self.was, self.now)

    def key(self):
        return self.path, self.was, self.now


def mutants(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        text = f.read()
    code = blank(text)
    # a message is no promise
    for m in QUIET.finditer(code):
        end = close(code, m.end() - 1)
        code = code[:m.start()] + re.sub(r"[^\n]", " ", code[m.start():end]) + \
            code[end:]
    found = []
    for m in re.finditer(r"\)\n\{\n.*?^\}", code, re.S | re.M):
        # a declaration that sets nothing to anything is none of its places
        body = code[m.start() + 2:m.end()]
        for begin, end, new in places(body):
            at = m.start() + 2
            found.append(Mutant(path, text, at + begin, at + end, new))
    for old, new in WORDS:
        for m in re.finditer(re.escape(old), text):
            found.append(Mutant(path, text, m.start(), m.end(), new))
    return sorted(found, key=lambda m: m.line)


def equivalent():
    """{mutant's key: [why no test can see it, of each place]}: three lines
    each."""
    known = {}
    if not os.path.exists(EQUIVALENT):
        return known
    with open(EQUIVALENT, encoding="utf-8") as f:
        lines = [l.rstrip("\n") for l in f
                 if l.strip() and not l.startswith("#")]
    for i in range(0, len(lines), 3):
        (path, why), was, now = lines[i].split(": ", 1), *lines[i + 1:i + 3]
        assert was.startswith("- ") and now.startswith("+ "), lines[i]
        known.setdefault((path, was[2:], now[2:]), []).append(why)
    return known


class Tree:
    """A copy of this tree and of what is built of it."""

    def __init__(self, fast):
        self.fast = fast  # unit tests that are
        self.at = tempfile.mkdtemp(prefix="mews-mutants-")
        self.took, self.how = {}, {}
        files = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, check=True,
                               stdout=subprocess.PIPE).stdout
        subprocess.run(["cpio", "-0pdm", "--quiet", self.at], cwd=TOP,
                       input=files, check=True)
        os.mkdir(self.path("build"))
        for d in ("build/obj", "build/unit", "build/libcommon.a",
                  "build/libproto.a") if fast else ("build/.", "build-test"):
            if os.path.exists(os.path.join(TOP, d)):
                subprocess.run(["cp", "-a", os.path.join(TOP, d),
                                self.path(os.path.dirname(d))], check=True)

    def path(self, *p):
        return os.path.join(self.at, *p)

    def make(self, *targets):
        own = {k: v for k, v in os.environ.items()
               if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "F", "N", "S")}
        return subprocess.run(["make", "-s", *targets], cwd=self.at, env=own,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)

    def learn(self, changed, names):
        """What make does for each of them when that file has changed."""
        for name in names:
            os.utime(self.path(changed))
            p = self.make("-n", name)
            assert p.returncode == 0, p.stdout.decode()
            lines = p.stdout.decode().replace("\\\n", " ").split("\n")
            self.how[name] = [l for l in lines
                              if not re.match(r"(printf |mkdir |$)", l)]
            assert self.how[name] and self.make(name).returncode == 0, name

    def remake(self, name):
        """As make would, which takes longer to find out."""
        return all(subprocess.run(l, shell=True, cwd=self.at, check=False,
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode == 0
                   for l in self.how[name])

    def code(self, path):
        """What the compiler makes of it, without what debuggers read."""
        out = self.path("object")
        subprocess.run(["objcopy", "--strip-debug",
                        self.path(object_of(path)), out], check=True)
        with open(out, "rb") as f:
            return f.read()

    def write(self, path, text):
        with open(self.path(path), "w", encoding="utf-8") as f:
            f.write(text)

    def passes(self, test, room):
        """None: no end within its time."""
        python = is_python(test)
        argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
                sys.executable, "tests/%s.py" % test] if python else \
            [self.path("build/unit", test)]
        env = dict(os.environ)
        if python:
            env["MEWS_PROGRAM"] = self.path(PROGRAMS[room])
        start = time.monotonic()
        p = subprocess.Popen(argv, cwd=self.at, env=env,
                             stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True)
        resource.prlimit(p.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            good = p.wait(FIRST + 3 * self.took.get(test, 300)) == 0
        except subprocess.TimeoutExpired:
            good = None
        finally:
            if p.poll() is None:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()
        self.took.setdefault(test, time.monotonic() - start)
        return good


def is_python(test):
    return os.path.exists(os.path.join(TOP, "tests", test + ".py"))


def guards(path, fast):
    """{test: the target that it runs}"""
    unit, slow = GUARDS[path]
    room = path.split("/", 1)[0]
    return {t: PROGRAMS[room] if is_python(t) else "build/unit/" + t
            for t in unit + (() if fast else slow)}


def object_of(path):
    return "build/obj/%s.o" % path.removesuffix(".c")


def fate(tree, m, seen):
    """Which test killed it; "" none, None: it is no mutant."""
    tree.write(m.path, m.text)
    if not tree.remake(object_of(m.path)):
        return None
    code = tree.code(m.path)
    if code in seen:
        return None
    seen.add(code)
    made = set()
    for test, target in guards(m.path, tree.fast).items():
        if target not in made and not tree.remake(target):
            return None
        made.add(target)
        if tree.passes(test, m.path.split("/", 1)[0]) is not True:
            return test
    return ""


def begin_file(tree, path):
    """What its object file is without a mutant, all of whose tests pass."""
    tests = guards(path, tree.fast)
    names = list(dict.fromkeys(tests.values()))
    p = tree.make(*names)
    assert p.returncode == 0, p.stdout.decode()
    tree.learn(path, [object_of(path)])
    tree.learn(object_of(path), names)
    for test in tests:
        assert tree.passes(test, path.split("/", 1)[0]), \
            "%s fails without a mutant" % test
    return tree.code(path)


def run_file(tree, path, todo, end):
    """{what became of a file's mutants: how many}; at the time `end` no other
    is begun."""
    n = dict.fromkeys(("killed", "alive", "noted", "none", "left"), 0)
    with open(tree.path(path), encoding="utf-8") as f:
        whole = f.read()
    seen = {begin_file(tree, path)}
    for m in todo:
        if time.monotonic() > end:
            n["left"] += 1
            continue
        by = fate(tree, m, seen)
        if by is None:
            n["none"] += 1
        elif by:
            n["killed"] += 1
            print("ok %s (%s)" % (m, by), flush=True)
        elif path in KEPT:
            n["alive"] += 1
            print("not ok SURVIVED %s" % m, flush=True)
        else:
            n["noted"] += 1
            print("note SURVIVED %s" % m, flush=True)
    tree.write(path, whole)
    tree.make(*guards(path, tree.fast).values())
    return n


def chosen(known):
    """{file: its mutants}, in an order that the seed says."""
    files = os.environ.get("F", "").split() or list(GUARDS)
    unknown = [f for f in files if f not in GUARDS]
    if unknown:
        sys.exit("no test is known for %s: GUARDS has %s" % (
            " ".join(unknown), " ".join(GUARDS)))
    every = [m for f in files for m in mutants(f) if m.key() not in known]
    count = int(os.environ.get("N") or COUNT)
    seed = os.environ.get("S") or "1"
    print("# seed %s, %d of %d mutants" % (
        seed, min(count, len(every)) if count else len(every), len(every)))
    rng = random.Random(seed)
    if 0 < count < len(every):
        every = rng.sample(every, count)
        rng.shuffle(files)
    return {f: [m for m in every if m.path == f] for f in files}


def main(argv):
    start, todo = time.monotonic(), chosen(equivalent())
    if "--list" in argv:
        for ms in todo.values():
            print(*ms, sep="\n")
        return 0
    end = start + min([float(a) for a in argv if a.isdigit()] or [float("inf")])
    # what it copied goes with it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    tree, total = Tree("--unit" in argv), Counter()
    try:
        for path, ms in todo.items():
            if ms and time.monotonic() < end:
                total.update(run_file(tree, path, ms, end))
            else:
                total["left"] += len(ms)
    finally:
        shutil.rmtree(tree.at)
    print("# %d killed, %d survived, %d noted, %d no mutants, %d not begun, "
          "in %d s" % (*(total[k] for k in (
              "killed", "alive", "noted", "none", "left")),
              time.monotonic() - start))
    return 1 if total["alive"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
