"""What suites in the lab share: its devices by their place, guests of its
own, cgroups."""
import contextlib
import os
import re
import select
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/suite"))
from suite import run, sh, wait_for  # noqa: E402,F401

BUILD = os.path.join(TOP, os.environ.get("B", "build"))
CONFIG = os.environ.get("LAB_CONFIG")
# tests/lab/lab.py puts them there
LONE_NIC = "0000:00:10.0"
SHARED_NIC, SIBLING = "0000:00:11.0", "0000:00:11.1"
NVME = "0000:00:12.0"
CGROUP = "/sys/fs/cgroup"
# Seconds.  For what hangs; a guest of the lab needs three on a quiet machine.
GUEST = 90


def eq(got, want, what=""):
    if got != want:
        raise AssertionError("%s: got %r, want %r" % (what, got, want))


def note(text):
    print("  " + text, flush=True)


def read(path):
    with open(path) as f:
        return f.read().strip()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


class Guest:
    """A guest in the lab with the suite's kernel and lab-guest as pid 1."""

    def __init__(self, *extra, accel="kvm", cmdline="", uid=None,
                 kernel=BUILD + "/guest/vmlinuz", cpu="host",
                 program="qemu-system-x86_64",
                 initramfs=BUILD + "/lab-guest.cpio"):
        self.start, self.out = time.monotonic(), b""
        self.p = subprocess.Popen(
            [program, "-M", "microvm,acpi=on,rtc=on", "-accel", accel,
             "-cpu", cpu, "-m", "128", "-nodefaults", "-no-user-config",
             "-display", "none", "-no-reboot", "-kernel", kernel, "-initrd",
             initramfs, "-append", "console=ttyS0 quiet panic=-1 reboot=t "
             + cmdline, "-serial", "stdio", *extra],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, user=uid,
            group=uid, stderr=subprocess.STDOUT)

    def line(self, text, deadline=GUEST):
        """Seconds from its start until it says text, None when it ended or
        did not say it in time."""
        end = time.monotonic() + deadline
        while text.encode() not in self.out:
            left = end - time.monotonic()
            if left < 0 or not select.select([self.p.stdout], [], [], left)[0]:
                return None
            data = os.read(self.p.stdout.fileno(), 65536)
            if not data:
                return None
            self.out += data
        return time.monotonic() - self.start

    def close(self):
        self.p.kill()
        self.p.wait()
        self.p.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# -- devices

def group(device):
    """(number, devices) of its IOMMU group."""
    path = os.path.realpath("/sys/bus/pci/devices/%s/iommu_group" % device)
    return int(os.path.basename(path)), set(os.listdir(path + "/devices"))


def driver(device):
    link = "/sys/bus/pci/devices/%s/driver" % device
    return os.path.basename(os.path.realpath(link)) if os.path.exists(link) \
        else None


def bind(device, name):
    """To the driver of this name, or to its own with None."""
    at = "/sys/bus/pci/devices/" + device
    write(at + "/driver_override", name or "\n")
    if driver(device):
        write(at + "/driver/unbind", device)
    write("/sys/bus/pci/drivers_probe", device)
    return driver(device)


@contextlib.contextmanager
def bound(*devices):
    """These devices belong to vfio-pci, and to their drivers afterwards."""
    try:
        for d in devices:
            eq(bind(d, "vfio-pci"), "vfio-pci", d)
        yield
    finally:
        for d in devices:
            bind(d, None)


# -- cgroups

@contextlib.contextmanager
def cgroup(name, **limits):
    """A group of this name at the top: memory_max="32M" and so on."""
    path = "%s/%s" % (CGROUP, name)
    write(CGROUP + "/cgroup.subtree_control", "+memory +pids +cpu")
    os.mkdir(path)
    try:
        for k, v in limits.items():
            write("%s/%s" % (path, k.replace("_", ".")), v)
        yield path
    finally:
        write(path + "/cgroup.kill", "1")
        wait_for(lambda: "populated 0" in read(path + "/cgroup.events"),
                 "end of " + name)
        os.rmdir(path)


def members(path):
    """Pids in a group, without KVM's own threads: those have no command line,
    and no pid in a namespace of pids."""
    return sorted(int(p) for p in read(path + "/cgroup.procs").split()
                  if p != "0" and read("/proc/%s/cmdline" % p))


def in_cgroup(path, *argv):
    """Runs a command there; the exit status, negative for a signal."""
    def enter():
        write(path + "/cgroup.procs", "0")
    return subprocess.run(argv, preexec_fn=enter, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode


def events(path, file="memory.events"):
    return {k: int(v) for k, v in re.findall(r"(\S+) (\d+)",
                                             read("%s/%s" % (path, file)))}
