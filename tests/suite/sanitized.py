"""Reports of the sanitizers in the logs of rooms under test (make asan).

A room writes its report to its log and ends with status 99.  Each library of
the tests says which logs there are; a report in any of them fails the case.
Without SANITIZED in the environment nothing here does anything.
"""
import fcntl
import glob
import os
import re
import subprocess
import threading

ON = os.environ.get("SANITIZED") == "1"
REPORT = re.compile(r"==ERROR: |^ERROR: |runtime error: |CHECK failed", re.M)
FRAME = re.compile(r"\(([^()+\s]+)\+(0x[0-9a-f]+)\)")
SHOWN = 6000
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("B", "build"))
_patterns, _held, _lock = [], {}, threading.Lock()


def _named(text):
    """The frames with function and line: rooms cannot read their symbols."""
    def name(m):
        path = os.path.join(BUILD, os.path.basename(m.group(1)))
        if not os.path.exists(path):
            return m.group(0)
        p = subprocess.run(["addr2line", "-fpie", path, m.group(2)],
                           stdout=subprocess.PIPE, text=True)
        return "(%s)" % p.stdout.strip().replace("\n", "; ")
    return FRAME.sub(name, text)


def _look():
    for path in (p for pattern in _patterns for p in glob.glob(pattern)):
        try:
            key = path, os.stat(path).st_ino
            if key not in _held:
                with open(path, "rb") as f:
                    # out of the way of tests that count or place descriptors
                    fd = fcntl.fcntl(f, fcntl.F_DUPFD_CLOEXEC, 600)
                _held[key] = open(fd, errors="replace")
        except OSError:
            pass  # gone meanwhile


def watch(*patterns):
    """Holds the logs of these names from now on: a VM's goes with its VM, a
    case's with its folder, and what was said in it must not."""
    if not ON:
        return
    _patterns.extend(p for p in patterns if p not in _patterns)

    def loop():
        nap = threading.Event()
        while not nap.wait(0.01):
            with _lock:
                _look()
    if not any(t.name == "sanitized" for t in threading.enumerate()):
        threading.Thread(target=loop, daemon=True, name="sanitized").start()


def reports():
    """What a runtime said since this was asked last."""
    with _lock:
        _look()
        new = [(key[0], f.read()) for key, f in _held.items()]
    return ["%s: %s" % (path, _named(
        t[max(0, REPORT.search(t).start() - 200):][:SHOWN]))
            for path, t in new if REPORT.search(t)]


def check():
    """Fails if there is a report: every runner of cases asks after each."""
    if not ON:
        return
    found = reports()
    if found:
        raise AssertionError("sanitizer:\n" + "\n".join(found))


def libraries(program):
    """What a staged tree needs beside this program; a static one nothing."""
    p = subprocess.run(["ldd", program], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, text=True)
    return re.findall(r"(/\S+) \(0x", p.stdout)
