#!/usr/bin/env python3
"""I7, the whole matrix: every room killed before and after every message it
passes in a VM's life, and then everybody killed at each of these instants.

A row whose message was not there to be killed at is no row if quiet runs, made
again then, show that it is not in every life; there are few of them, or the
plan is wrong."""
import os
import sys

import kills as k

ABSENT = 0.02  # of all rows, at most


def main():
    if os.geteuid() != 0:
        print("skip kill matrix: needs root for namespaces")
        return 0
    table, bad, absent = k.table(), 0, 0
    table += [(room, typ, n, when | k.HALT) for room, typ, n, when in table]
    for res in k.run_rows(table):
        if k.UNREACHED in (res["error"] or "") and not k.happens(res["row"]):
            absent += 1
            print("not in every life: " + k.title(res["row"]), flush=True)
            continue
        if res["error"]:
            bad = 1
            print("%s\n%s" % (res["error"], res.get("logs", "")))
        print("%s %s" % ("not ok" if res["error"] else "ok",
                         k.title(res["row"])), flush=True)
    few = absent <= ABSENT * len(table)
    print("%s %d of %d rows are not in every life"
          % ("ok" if few else "not ok", absent, len(table)))
    return bad or not few


sys.exit(main())
