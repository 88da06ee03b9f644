#!/usr/bin/env python3
"""Some lines of tests/rules; `make check-long` has every one."""
import sys

import rules_long

sys.exit(rules_long.main(["--sample"]))
