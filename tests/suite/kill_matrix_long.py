#!/usr/bin/env python3
"""I7, the whole matrix: every room killed before and after every message it
passes in a VM's life, and then everybody killed at each of these instants."""
import os
import sys

import kills as k


def main():
    if os.geteuid() != 0:
        print("skip kill matrix: needs root for namespaces")
        return 0
    table, bad = k.table(), 0
    table += [(room, typ, n, when | k.HALT) for room, typ, n, when in table]
    for res in k.run_rows(table):
        if res["error"]:
            bad = 1
            print("%s\n%s" % (res["error"], res.get("logs", "")))
        print("%s %s" % ("not ok" if res["error"] else "ok",
                         k.title(res["row"])), flush=True)
    return bad


sys.exit(main())
