"""Documents between apid and orchd, as the API's tables have them.

    from tables import items, pack, pack_list, unpack

    pack("VMCreate", name="a", image="busybox")    # `has` follows what is given
    unpack("VM", data)["status"]                   # "running"
    [unpack("VM", i) for i in items(tail)]

Which fields there are comes from proto/objects.c (build/tables.json, made by
tests/suite/tables.c); how a kind of field is written is said here once more, so
that table_wire.c has a second opinion.
"""
import json
import os
import struct

import wire

FILE = os.path.join(os.path.dirname(wire.FILE), "tables.json")
with open(FILE, encoding="ascii") as _f:
    TABLES = json.load(_f)


def text(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack("=I", len(s)) + s


def bit(table, name):
    """What `has` has for that field."""
    return 1 << [f["name"] for f in TABLES[table]].index(name)


def words(table, name):
    """What the values of an enum are called."""
    return next(f["names"] for f in TABLES[table] if f["name"] == name)


def word(f, v):
    return f["names"].index(v) if isinstance(v, str) else v


def pack_field(f, v):
    kind = f["type"]
    if kind == "bool":
        return struct.pack("=B", v or 0)
    if kind == "int":
        return struct.pack("=q" if f["signed"] else "=Q", v or 0)
    if kind == "enum":
        return struct.pack("=I", word(f, v or 0))
    if kind == "enumset":
        return struct.pack("=I", v if isinstance(v, int) else
                           sum(1 << word(f, w) for w in v or ()))
    if kind == "str":
        return text(v or "")
    if kind == "strs":
        each = b"".join(s.encode() + b"\0" for s in v or ())
        return struct.pack("=II", len(v or ()), len(each)) + each
    if kind == "obj":
        return pack(f["sub"], **(v or {}))
    if kind == "objs":
        return struct.pack("=I", len(v or ())) + b"".join(
            pack(f["sub"], **o) for o in v or ())
    if kind == "time":
        return struct.pack("=q", v or 0)
    return struct.pack("=Q", v or 0) if kind == "uid" else \
        (v or b"").ljust(f["size"], b"\0")


def pack(table, has=None, **given):
    """An object.  An optional field is there if it is given, whatever `has` is
    made to say."""
    names = [f["name"] for f in TABLES[table]]
    assert not set(given) - set(names), "%s has no %s" % (table, given)
    given = {n: v for n, v in given.items() if v is not None}
    if has is None:
        has = sum(1 << names.index(n) for n in given)
    return struct.pack("=Q", has) + b"".join(
        pack_field(f, given.get(f["name"])) for f in TABLES[table]
        if not f["optional"] or f["name"] in given)


class Cur:
    def __init__(self, b):
        self.b, self.at = b, 0

    def take(self, n):
        out = self.b[self.at:self.at + n]
        assert len(out) == n, "cut short"
        self.at += n
        return out

    def get(self, fmt):
        return struct.unpack("=" + fmt, self.take(struct.calcsize("=" + fmt)))[0]

    def field(self, f):
        kind = f["type"]
        if kind == "bool":
            return bool(self.get("B"))
        if kind == "int":
            v = self.get("q" if f["signed"] else "Q")
            assert f["min"] <= v <= f["max"], "%s: %d" % (f["name"], v)
            return v
        if kind == "enum":
            return f["names"][self.get("I")]
        if kind == "enumset":
            v = self.get("I")
            return [n for i, n in enumerate(f["names"]) if v >> i & 1]
        if kind == "str":
            return self.take(self.get("I")).decode()
        if kind == "strs":
            count, size = self.get("I"), self.get("I")
            out = self.take(size).split(b"\0")[:-1]
            assert len(out) == count
            return [s.decode() for s in out]
        if kind == "obj":
            return self.object(f["sub"])
        if kind == "objs":
            return [self.object(f["sub"]) for _ in range(self.get("I"))]
        if kind == "time":
            return self.get("q")
        return self.get("Q") if kind == "uid" else self.take(f["size"])

    def object(self, table):
        has, out = self.get("Q"), {}
        for i, f in enumerate(TABLES[table]):
            if not f["optional"] or has >> i & 1:
                out[f["name"]] = self.field(f)
        return out


def unpack(table, data):
    """{name: value} of all that is there; a word for an enum's number."""
    c = Cur(data)
    out = c.object(table)
    assert c.at == len(data), "%s: trailing bytes" % table
    return out


def pack_list(items):
    """Of packed objects (API_DOC_LIST)."""
    return struct.pack("=I", len(items)) + b"".join(map(text, items))


def items(data):
    """The packed objects of a list."""
    c = Cur(data)
    out = [c.take(c.get("I")) for _ in range(c.get("I"))]
    assert c.at == len(data), "trailing bytes"
    return out
