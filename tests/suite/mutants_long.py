#!/usr/bin/env python3
"""A sample of mutants, by unit tests alone: another with each commit.

The seed S is the commit's, so that the same sample comes again.  What is not
begun after SECONDS is left.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
import mutants  # noqa: E402


SECONDS = "270"  # and what is begun by then takes a minute at most


def seed():
    p = subprocess.run(["git", "rev-parse", "--short=8", "HEAD"],
                       cwd=mutants.TOP, stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, text=True, check=False)
    return p.stdout.strip()


for name, value in (("S", seed()), ("N", "100")):
    os.environ[name] = os.environ.get(name) or value
os.environ.pop("F", None)
sys.exit(mutants.main(["--unit", SECONDS]))
