"""Memory: how much the service may have, and who is ended where there is none left."""

from pathlib import Path

# Added to what the kernel takes a process for (proc_pid_oom_score_adj(5)), in thousandths of all
# memory: one that runs tasks counts for half of it more than the server, and than Dask's scheduler.
TASKS_FIRST = 500
OWN_SCORE = Path("/proc/self/oom_score_adj")
HIGHEST_SCORE = 1000
OWN_GROUP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")
LIMITS = ("memory.max", "memory.high")  # MemoryMax= and MemoryHigh= of systemd.resource-control(5)


def offer_this_process() -> None:
    """Have the kernel end this process, and what it starts, before the server."""
    score = int(OWN_SCORE.read_text()) + TASKS_FIRST
    OWN_SCORE.write_text(str(min(score, HIGHEST_SCORE)))


def limit(own_group: Path = OWN_GROUP, groups: Path = GROUPS) -> int | None:
    """The bytes that this process and its siblings may have together, if that is limited.

    Dask looks at the topmost group alone, which has the limit of a container, but not of a unit.
    """
    try:
        lines = own_group.read_text().splitlines()
    except OSError:
        return None
    name = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if name is None:  # version 1 of control groups
        return None
    folder = groups / name
    found = []
    for group in (folder, *folder.parents):
        for file in LIMITS:
            try:
                found.append(int((group / file).read_text()))
            except (OSError, ValueError):  # the topmost has none; "max"
                continue
        if group == groups:
            break
    return min(found, default=None)
