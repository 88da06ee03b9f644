"""What was measured, and how it is told."""
import os
import statistics
import time

START = time.monotonic()


class Report:
    """One row a measurement; the same rows as text and for the docs."""

    def __init__(self):
        self.rows = []

    def row(self, what, samples, unit, budget=None, base=None, limit=None,
            note=""):
        """limit: of the ratio where base is given, else of the median."""
        mid = statistics.median(samples)
        ratio = mid / statistics.median(base) if base else None
        got = ratio if base else mid
        ok = "" if limit is None else "met" if got <= limit else "MISSED"
        self.rows.append((what, samples, unit, budget, base, ratio, ok, note))
        print("%6.1fs  %-44s %-28s %s%s %s" % (
            time.monotonic() - START, what, spread(samples, unit),
            "" if base is None else "bare %s, ratio %.2f  " % (
                spread(base, unit), ratio),
            "" if budget is None else "budget %s: %s" % (budget, ok), note),
            flush=True)

    def markdown(self):
        out = ["| what | budget | measured: median [min-max] | bare | ratio | |",
               "|---|---|---|---|---|---|"]
        for what, samples, unit, budget, base, ratio, ok, note in self.rows:
            out.append("| %s | %s | %s (n=%d) | %s | %s | %s |" % (
                what, budget or "", spread(samples, unit), len(samples),
                spread(base, unit) if base else "",
                "%.2f" % ratio if base else "", ok or note))
        return "\n".join(out) + "\n"


def spread(samples, unit):
    digits = 0 if min(samples) >= 1000 else 1 if min(samples) >= 10 else 2
    f = "%%.%df" % digits
    if len(samples) == 1:
        return "%s %s" % (f % samples[0], unit)
    return "%s [%s-%s] %s" % (f % statistics.median(samples), f % min(samples),
                              f % max(samples), unit)


def machine():
    model = mem = "?"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":")[1].strip()
    with open("/proc/meminfo") as f:
        mem = int(f.readline().split()[1]) // 1024
    return "%d vCPUs (%s), %d MiB, Linux %s, %s KVM, load %.1f" % (
        os.cpu_count(), model, mem, os.uname().release,
        "with" if os.path.exists("/dev/kvm") else "no", os.getloadavg()[0])
