#!/usr/bin/env python3
"""What the list of mutants says is so: each that no test can see is one, and
there are as many as it says; those that once lived, and must not, are still
made."""
import os
import sys
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
import mutants  # noqa: E402
import suite  # noqa: E402

EVERY = [m for f in mutants.GUARDS for m in mutants.mutants(f)]
# file, what is in the line, what it becomes
NAMED = (
    ("orchd/object/object.c", "!obj->open.dirty && !obj->writing",
     "!obj->open.dirty || !obj->writing"),
    ("orchd/sql.c", "synchronous = FULL", "synchronous = OFF"),
    ("orchd/batch.c", 'sql_exec(to->db, "ROLLBACK TO t");', ";"),
    ("orchd/object/idem.c", "if (hit == NULL || is_old(hit))",
     "if (hit == NULL && is_old(hit))"),
    ("orchd/object/idem.c", "clock_ms() - i->since_ms > IDEM_TTL_S",
     "clock_ms() - i->since_ms > (IDEM_TTL_S * 2)"),
    ("apid/client.c", "set_timer(c, c->stall, c->apid->conf.write_ms);", ";"),
    ("apid/client.c", "if (waits && (moved || !c->stalls)",
     "if (!(waits && (moved || !c->stalls)"),
    ("apid/client.c", "if (share_take(held_of(c), c->who, n) < 0)",
     "if (!(share_take(held_of(c), c->who, n) < 0))"),
)


def equivalent_ones_are_mutants():
    known, made = mutants.equivalent(), Counter(m.key() for m in EVERY)
    for key, why in known.items():
        assert made[key] == len(why), "%d such mutants, %d listed: %s: %s => %s" \
            % (made[key], len(why), *key)
        assert all(why), key


def named_ones_are_made():
    known = mutants.equivalent()
    for path, was, now in NAMED:
        found = [m for m in EVERY if m.path == path and was in m.was
                 and now in m.now]
        assert found, "no mutant of %s: %s => %s" % (path, was, now)
        assert not any(m.key() in known for m in found), was


def tests_are_there():
    assert not set(mutants.KEPT) & set(mutants.SEEN)
    for path, (unit, slow) in mutants.GUARDS.items():
        assert unit, path
        for t in unit + slow:
            end = ".py" if mutants.is_python(t) else ".c"
            assert os.path.exists(os.path.join(mutants.TOP, "tests", t + end))


sys.exit(suite.run({f.__name__: f for f in (
    equivalent_ones_are_mutants, named_ones_are_made, tests_are_there)}))
