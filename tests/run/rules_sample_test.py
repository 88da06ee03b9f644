#!/usr/bin/env python3
"""Some lines of tests/rules; `make check-long` has every one."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "long"))
import rules_test  # noqa: E402

sys.exit(rules_test.main(["--sample"]))
