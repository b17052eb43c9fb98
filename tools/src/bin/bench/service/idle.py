"""What services cost that nobody uses: idle.py SECONDS UNIT...

Prints for each unit: processes, seconds of CPU in the interval, MB of memory after it (PSS, RSS).
"""

import os
import sys
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def processes(unit):
    """The folders in /proc of what runs in the unit's control group."""
    for group in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            lines = group.read_text().splitlines()
        except OSError:  # it has ended
            continue
        if any(line.endswith(f"/{unit}") for line in lines):
            yield group.parent


def cpu(unit):
    """Seconds of CPU, those of children that have ended among them (proc_pid_stat(5))."""
    ticks = 0
    for process in processes(unit):
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def memory(unit, name):
    """MB of memory, by its name in smaps_rollup."""
    lines = [
        line.split()
        for process in processes(unit)
        for line in (process / "smaps_rollup").read_text().splitlines()
    ]
    return sum(int(line[1]) for line in lines if line[0] == f"{name}:") / 1000


def main(seconds, *units):
    before = [cpu(unit) for unit in units]
    time.sleep(float(seconds))
    for unit, used in zip(units, before):
        count = len(list(processes(unit)))
        print(count, cpu(unit) - used, memory(unit, "Pss"), memory(unit, "Rss"))


if __name__ == "__main__":
    main(*sys.argv[1:])
