#!/usr/bin/env python3
"""A Cloud Hypervisor that was brought along: it starts in the lab, and a
guest's kernel reaches its init under it on real KVM.  What the suite does
with it comes with its backend."""
import os
import re
import select
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lablib as lab  # noqa: E402
from lablib import note  # noqa: E402

LAB = {"config": "bare", "deadline": 180, "needs": "CLOUD_HYPERVISOR"}
CH = lab.TOP + "/brought/cloud_hypervisor/run"


def version():
    p = subprocess.run([CH, "--version"], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True)
    assert p.returncode == 0 and re.match(r"cloud-hypervisor v?\d", p.stdout), p
    note(p.stdout.strip())


def boot(kernel):
    """Seconds until the guest's init, None if it does not get there."""
    start, out = time.monotonic(), b""
    p = subprocess.Popen(
        [CH, "--kernel", kernel, "--initramfs", lab.BUILD + "/lab-guest.cpio",
         "--cpus", "boot=1", "--memory", "size=128M", "--serial", "tty",
         "--console", "off", "--cmdline", "console=ttyS0 quiet panic=-1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    try:
        end = start + lab.GUEST
        while b"lab-guest: " not in out:
            left = end - time.monotonic()
            if left < 0 or not select.select([p.stdout], [], [], left)[0]:
                return None, out
            data = os.read(p.stdout.fileno(), 65536)
            if not data:
                return None, out
            out += data
        return time.monotonic() - start, out
    finally:
        p.kill()
        p.wait()
        p.stdout.close()


def boots():
    took, out = boot(lab.BUILD + "/guest/vmlinuz")
    assert took, out[-2000:]
    note("at its init after %.1f s" % took)


def boots_control():
    with open("/tmp/none", "wb") as f:
        f.truncate(1 << 20)
    took, out = boot("/tmp/none")
    assert took is None, out


CASES = {f.__name__.replace("_", "-"): f for f in (
    version, boots, boots_control)}

if __name__ == "__main__":
    sys.exit(lab.run(CASES))
