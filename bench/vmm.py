"""The two QEMUs that a package may have, with KVM: from exec to the first
instruction of a guest, and what that took."""
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("qemu-system-x86_64", "qemu-system-x86_64-microvm")
DEADLINE = 10.0
# at the reset vector: mov dx,0x3f8; mov al,'X'; out dx,al; hlt; jmp to the hlt
CODE = bytes.fromhex("ba f8 03 b0 58 ee f4 eb fd")
ROM_LEN = 65536


def rom(path):
    with open(path, "wb") as f:
        f.write(bytes(ROM_LEN - 16) + CODE.ljust(16, b"\xf4"))


def argv(name, bios):
    """As warden/qemu.c makes them, but for what only one has and what comes by
    descriptor."""
    return [name, "-M",
            "microvm,acpi=on,rtc=on,usb=off,graphics=off,mem-merge=off",
            "-accel", "kvm", "-cpu", "max", "-smp", "1", "-m", "128M",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-chardev", "null,id=agent", "-serial", "stdio", "-device",
            "virtio-serial-device", "-device",
            "virtserialport,chardev=agent,name=mews.agent", "-device",
            "virtio-rng-device", "-bios", bios]


def kib(pid, *words):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return sum(int(line.split()[1]) for line in f
                   if line.split(":")[0] in words)


def cpu_ms(pid):
    """Of all its threads."""
    ns = 0
    for t in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, t)) as f:
            ns += int(f.read().split()[0])
    return ns / 1e6


def one(args):
    """(ms to its first instruction, ms of processors, MiB that no file backs,
    MiB of all)."""
    t = time.monotonic()
    p = subprocess.Popen(args, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE)
    try:
        if not select.select([p.stdout], [], [], DEADLINE)[0]:
            raise AssertionError("%s: no first instruction" % args[0])
        took = time.monotonic() - t
        if os.read(p.stdout.fileno(), 1) != b"X":
            raise AssertionError("%s did not start" % args[0])
        return (took * 1e3, cpu_ms(p.pid),
                kib(p.pid, "Anonymous") / 1024, kib(p.pid, "Rss") / 1024)
    finally:
        p.kill()
        p.wait()
        p.stdout.close()


def both(rep, n):
    names = [x for x in NAMES if shutil.which(x)]
    if not os.path.exists("/dev/kvm") or len(names) < 2:
        print("vmm: left out: it needs /dev/kvm and %s" % " and ".join(NAMES))
        return
    with tempfile.TemporaryDirectory() as d:
        rom(d + "/rom")
        got = {x: [] for x in names}
        for i in range(n + 1):
            for x in names:
                row = one(argv(x, d + "/rom"))
                if i > 0:  # the caches' run
                    got[x].append(row)
    for k, (what, unit) in enumerate((
            ("exec of QEMU -> first instruction, KVM", "ms"),
            ("  of processors until then", "ms"),
            ("  memory that no file backs", "MiB"),
            ("  memory with its files", "MiB"))):
        full, small = ([row[k] for row in got[x]] for x in names)
        rep.row(what + ", microvm's against full", small, unit, None, full)
