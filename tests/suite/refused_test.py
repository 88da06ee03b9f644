#!/usr/bin/env python3
"""A hypervisor that its filter ends: who asked for the VM is told so, and the
VM's log, in the build that ships.  A program in its place makes the call."""
import os
import shutil
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402

STAGE = "/run/stage"
WORDS = "signal 31%s: its filter refused a call (dmesg: type=1326)"
TRIES = 10


class Held(threading.Thread):
    """What the VMs' logs say: the log of one that did not start goes with it."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.open, self.end = folder, {}, threading.Event()

    def run(self):
        while not self.end.wait(0.001):
            for name in os.listdir(self.folder):
                if name not in self.open and not name.endswith(".at"):
                    self.open[name] = open(os.path.join(self.folder, name))

    def text(self):
        self.end.set()
        self.join()
        return "".join(f.read() for f in self.open.values())


def main():
    shutil.copytree(os.path.realpath(suite.BUILD + "/stage/current"), STAGE,
                    symlinks=True)
    shutil.copy2(suite.BUILD + "/tests/mews-probe",
                 STAGE + "/usr/bin/qemu-system-x86_64")
    s = suite.Suite(stage=STAGE).start()
    s.wait_helpers()

    def told():
        held = Held(s.root + "/log/vm")
        held.start()
        for n in range(TRIES):
            r = s.create("v%d" % n, kernel_cmdline="probe=socket")
            assert r.status == 500 and WORDS % ")" in r.json()["error"], r.body
        text = held.text()
        assert "hypervisor ended by " + WORDS % "" in text, text

    def passed():
        r = s.create("w", kernel_cmdline="probe=getrandom")
        assert r.status == 500 and "filter" not in r.json()["error"], r.body
    return suite.run({"told": told, "not of others": passed})


if __name__ == "__main__":
    suite.enter()
    sys.exit(main())
