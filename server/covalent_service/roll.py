"""The file from which `covalentctl worker list` tells how the machines of the fleet are."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = "fleet.json"  # in the unit's RuntimeDirectory=


@dataclass
class Member:
    """A machine of root's list."""

    state: str = "gone"  # or running, draining, refused
    since: int = 0  # seconds since 1970
    busy: int = 0
    slots: int = 0
    resources: dict[str, float] = field(default_factory=dict)
    address: str = ""
    reason: str = ""  # of a refusal


class Roll:
    """What was written last, which the next differs from."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._members: dict[str, Member] = {}
        self._written = ""

    def write(self, members: dict[str, Member], waiting: dict[str, int]) -> None:
        """Replace the file, if anything has changed."""
        for name, member in members.items():
            before = self._members.get(name)
            unchanged = before is not None and before.state == member.state
            member.since = before.since if before and unchanged else int(time.time())
        self._members = members
        workers = {name: asdict(member) for name, member in sorted(members.items())}
        text = json.dumps({"workers": workers, "waiting": waiting})
        if text != self._written:
            draft = self._file.with_suffix(".new")
            draft.write_text(text)
            os.replace(draft, self._file)
            self._written = text


def member(workers: Iterable[Any], draining: bool, refusal: str) -> Member:
    """How a machine is that has these workers registered."""
    workers = list(workers)
    if not workers:
        return Member("refused" if refusal else "gone", reason=refusal)
    resources: Counter[str] = Counter()
    for worker in workers:
        resources.update(worker.resources)
    return Member(
        "draining" if draining else "running",
        busy=sum(len(worker.processing) for worker in workers),
        slots=sum(worker.nthreads for worker in workers),
        resources=dict(resources),
        address=workers[0].address.partition("://")[2].rpartition(":")[0],
    )
