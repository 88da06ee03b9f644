#!/usr/bin/env python3
"""All suites of the lab, one that brings a program along where one is named."""
import os
import sys

LAB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lab.py")
os.execv(sys.executable, [sys.executable, LAB, "-c"])
