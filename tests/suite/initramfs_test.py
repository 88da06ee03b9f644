#!/usr/bin/env python3
"""mk/initramfs, mk/modules: kernel packages as releases of Debian lay them out, and that
an error of a tool is one of the script."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import suite  # noqa: E402

# name: what it depends on
MODULES = {"virtio": "", "virtio_ring": "", "virtio_mmio": "virtio_ring,virtio",
           "virtio_net": "net_failover", "net_failover": "failover",
           "failover": "", "virtio_blk": "", "virtio_console": "virtio",
           "virtio-rng": "virtio", "button": "", "evdev": "", "pvpanic": "",
           "pvpanic-mmio": "pvpanic", "vsock": "",
           "vmw_vsock_virtio_transport_common": "vsock",
           "vmw_vsock_virtio_transport":
           "vmw_vsock_virtio_transport_common,vsock,virtio"}
LATE = ["virtio_rng", "button", "evdev", "pvpanic", "pvpanic_mmio"]
VSOCK = ["vsock", "vmw_vsock_virtio_transport_common",
         "vmw_vsock_virtio_transport"]


class Tree:
    """A kernel's unpacked package below d."""

    def __init__(self, d, lib="lib/modules", pack=None, builtin=()):
        self.d, self.out = d, d + "/initramfs"
        self.modules = "%s/kernel/%s/6.0-cloud" % (d, lib)
        os.makedirs(self.modules + "/kernel/drivers")
        with open(self.modules + "/modules.builtin", "w") as f:
            f.writelines("kernel/drivers/%s.ko\n" % b for b in builtin)
        names = [b.replace("-", "_") for b in builtin]
        for name, needs in MODULES.items():
            if name.replace("-", "_") not in names:
                self.module(name, needs, pack)

    def module(self, name, needs, pack):
        path = "%s/kernel/drivers/%s.ko" % (self.modules, name)
        subprocess.run(
            ["gcc", "-c", "-x", "c", "-o", path, "-"], check=True, text=True,
            input='static const char m[] __attribute__((used, section('
            '".modinfo"))) = "license=GPL\\0depends=%s";' % needs)
        if pack:
            subprocess.run([pack, path], check=True)

    def make(self, path=None):
        env = dict(os.environ)
        if path:
            env["PATH"] = path
        return subprocess.run(
            ["/bin/sh", suite.TOP + "/mk/initramfs", self.d + "/kernel",
             "/bin/true", "/bin/true", self.out], env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)

    def lists(self):
        """{list: names}, of an archive that has just what they name."""
        at = self.d + "/unpacked"
        os.mkdir(at)
        with open(self.out, "rb") as f:
            subprocess.run(["cpio", "--quiet", "-idm"], cwd=at, check=True,
                           stdin=f)
        at += "/lib/modules/"
        got = {}
        for name in ("order", "late", "vsock"):
            with open(at + name) as f:
                got[name] = f.read().split()
        named = sum(got.values(), [])
        assert sorted(set(os.listdir(at)) - set(got)) == sorted(named), got
        return {k: [m.removesuffix(".ko").replace("-", "_") for m in v]
                for k, v in got.items()}


def in_tree(fn, **how):
    def case():
        with tempfile.TemporaryDirectory(dir="/run") as d:
            fn(Tree(d, **how))
    return case


def made(t):
    p = t.make()
    assert p.returncode == 0, p.stdout
    return t.lists()


def all_modules(t):
    got = made(t)
    assert got["late"] == LATE and got["vsock"] == VSOCK, got
    order = got["order"]
    assert set(order) == set(MODULES) - set(VSOCK) - {
        m for m in MODULES if m.replace("-", "_") in LATE}, order
    for name in order:
        for needed in filter(None, MODULES[name].split(",")):
            assert order.index(needed) < order.index(name), order


def built_in(t):
    assert made(t) == {
        "order": ["virtio_mmio", "failover", "net_failover", "virtio_net",
                  "virtio_blk"],
        "late": [m for m in LATE if m != "virtio_rng"], "vsock": VSOCK}


def refused(words):
    def case(t):
        p = t.make()
        assert p.returncode != 0 and words in p.stdout, p.stdout
        assert not os.path.exists(t.out), p.stdout
        assert os.listdir(t.d) == ["kernel"], os.listdir(t.d)
    return case


def missing(t):
    os.unlink(t.modules + "/kernel/drivers/failover.ko")
    refused("no module failover")(t)


def nothing(t):
    os.rename(t.d + "/kernel/lib", t.d + "/kernel/other")
    refused("no lib/modules")(t)


def broken(t):
    """A packed module that ends early."""
    path = t.modules + "/kernel/drivers/virtio_blk.ko.xz"
    os.truncate(path, os.path.getsize(path) // 2)
    refused("nexpected end")(t)


def tool(name):
    """Each tool that makes it, missing and failing."""
    def case(t):
        for said in (None, "#!/bin/sh\nexit 3\n"):
            bin_ = t.d + "/bin"
            os.mkdir(bin_)
            for d in os.environ["PATH"].split(":"):
                for n in os.listdir(d) if os.path.isdir(d) else []:
                    if n != name and not os.path.lexists(bin_ + "/" + n):
                        os.symlink(d + "/" + n, bin_ + "/" + n)
            if said:
                with open(bin_ + "/" + name, "w") as f:
                    f.write(said)
                os.chmod(bin_ + "/" + name, 0o755)
            p = t.make(bin_)
            assert p.returncode != 0, (name, said, p.stdout)
            assert not os.path.exists(t.out), (name, said)
            subprocess.run(["rm", "-r", bin_], check=True)
    return case


CASES = {
    "lib": in_tree(all_modules),
    "usr lib": in_tree(all_modules, lib="usr/lib/modules"),
    "xz": in_tree(all_modules, lib="usr/lib/modules", pack="xz"),
    "gz": in_tree(all_modules, pack="gzip"),
    "built in": in_tree(built_in, builtin=("virtio", "virtio_ring",
                                           "virtio_console", "virtio-rng")),
    "built in, other name": in_tree(
        built_in, builtin=("virtio", "virtio_ring", "virtio_console",
                           "virtio_rng")),
    "a module is missing": in_tree(missing),
    "no modules": in_tree(nothing),
    "a broken module": in_tree(broken, pack="xz"),
}
CASES.update({n + " fails": in_tree(tool(n), pack="xz") for n in (
    "xz", "strip", "objcopy", "sed", "tr", "find", "sort", "cpio")})

if __name__ == "__main__":
    suite.enter()
    sys.exit(suite.run(CASES))
