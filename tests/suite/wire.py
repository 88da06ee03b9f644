"""The rooms' messages, as proto's headers have them.

    from wire import NET_TAP_OPEN, net_tap

    chan.send(NET_TAP_OPEN, bytes(net_tap(vm=1, slot=2, mac=b"\\2\\0\\0\\0\\0\\1")))
    tap = net_tap.of(payload)           # of exactly that size
    tap.slot, tap.mac[0]
    net_tap.slot.offset, net_tap.SIZE

Made by mk/layouts of what the compiler says (build/wire.json): a field or a
number that changes in C changes here.  What is not given is zero.  A char array
reads up to its NUL; `bytes(x)` has all of it.  Bytes that no honest room sends
are a hostile test's own to write.
"""
import ctypes
import json
import os

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE = os.path.join(TOP, os.environ.get("B", "build"), "wire.json")
PLAIN = {"u1": ctypes.c_uint8, "u2": ctypes.c_uint16, "u4": ctypes.c_uint32,
         "u8": ctypes.c_uint64, "i1": ctypes.c_int8, "i2": ctypes.c_int16,
         "i4": ctypes.c_int32, "i8": ctypes.c_int64, "c1": ctypes.c_char}


class Wire(ctypes.Structure):
    """What all structs here can."""

    def __init__(self, **fields):
        arrays = self.ARRAYS & fields.keys()
        super().__init__(**{n: v for n, v in fields.items() if n not in arrays})
        for name in arrays:
            self.fill(getattr(self, name), fields[name])
        # ctypes takes any name, and cuts what is too large
        for name, value in fields.items():
            assert name in self.NAMES, name
            assert type(value) is not int or getattr(self, name) == value, \
                "%s: %d does not fit" % (name, value)

    @staticmethod
    def fill(array, values):
        """From bytes, or a list of what is in it; the rest stays zero."""
        assert len(values) <= len(array), "%d do not fit" % len(values)
        for i, v in enumerate(values):
            if isinstance(v, bytes):
                array[i].value = v
            else:
                array[i] = v
                assert type(v) is not int or array[i] == v, "%d does not fit" % v

    @classmethod
    def of(cls, data):
        assert len(data) == cls.SIZE, "%s: %d bytes" % (cls.__name__, len(data))
        return cls.from_buffer_copy(data)

    @classmethod
    def at(cls, data, at=0):
        """Of the beginning of a payload, or of what follows there."""
        return cls.from_buffer_copy(data, at)

    @classmethod
    def all(cls, data):
        """Of a payload that is a list of them."""
        assert len(data) % cls.SIZE == 0, "%s: %d bytes" % (cls.__name__, len(data))
        return [cls.from_buffer_copy(data, at)
                for at in range(0, len(data), cls.SIZE)]

    def list(self):
        """Values in their order; an array is a tuple, a struct a list."""
        def plain(v):
            if isinstance(v, Wire):
                return v.list()
            return tuple(map(plain, v)) if isinstance(v, ctypes.Array) else v
        return [plain(getattr(self, n)) for n, _ in self._fields_]

    def __eq__(self, other):
        return type(self) is type(other) and bytes(self) == bytes(other)

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ", ".join(
            "%s=%r" % (n, v) for (n, _), v in zip(self._fields_, self.list(),
                                                  strict=True)))


def kind(made, name):
    first, *dims = name.split("*")
    out = PLAIN.get(first) or made(first)
    for n in dims:
        out *= int(n)
    return out


def structs(rows):
    out = {}

    def made(name):
        if name not in out:
            row = rows[name]
            fields = [(n, kind(made, k)) for n, k, _ in row["fields"]]
            out[name] = type(name, (Wire,), {
                "SIZE": row["size"], "_fields_": fields,
                "NAMES": {n for n, _ in fields},
                "ARRAYS": {n for n, k in fields if hasattr(k, "_length_") and
                           k._type_ is not ctypes.c_char}})
            assert ctypes.sizeof(out[name]) == row["size"], name
            assert all(getattr(out[name], n).offset == at
                       for n, _, at in row["fields"]), name
        return out[name]
    for name in rows:
        made(name)
    return out


with open(FILE, encoding="ascii") as _f:
    _doc = json.load(_f)
globals().update(_doc["consts"])
globals().update(structs(_doc["structs"]))
