"""Documents of orchd's API as its tests ask for them and compare them."""
import fcntl
import os
import struct

import tables
from tables import text
from wire import *  # noqa: F403

STATES = tables.words("VM", "status")


def vm_create(name="", image="busybox", cpu_cores=1, memory_mb=96, has=None,
              **more):
    given = dict(more, name=name, image=image, cpu_cores=cpu_cores,
                 memory_mb=memory_mb)
    return tables.pack("VMCreate", has, **{k: v for k, v in given.items() if v})


def vm_query(status=None, limit=None, desc=False, **more):
    given = {k: v for k, v in dict(more, order=int(desc)).items() if v}
    return tables.pack("VMQuery", status=status, limit=limit, **given)


def clean(v):
    """What apid's tables take from orchd: anything else fails here too."""
    assert all(32 <= ord(c) < 127 for s in v.values() if isinstance(s, str)
               for c in s), "not fit for a reader: %r" % v
    return v


def vm_view(b):
    return clean(tables.unpack("VM", b))


def event_view(b):
    """With its number before it."""
    seq, = struct.unpack_from("=Q", b)
    v = clean(tables.unpack("Event", b[8:]))
    assert v["seq"] == seq
    return dict(v, id=seq)


def check_view(b):
    v = clean(tables.unpack("Check", b))
    return v["name"], v["ok"], v["detail"]


def doc_list(b, item):
    return [item(i) for i in tables.items(b)]


def memfd(data, seals=0xf):
    fd = os.memfd_create("doc", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, data)
    if seals:
        fcntl.fcntl(fd, 1033, seals)  # F_ADD_SEALS
    return fd
