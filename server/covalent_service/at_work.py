"""Which tasks a worker of Dask is at, in a file that outlives the worker.

Dask's scheduler is told once a second or so, and a worker that is killed tells nothing any more.
"""

import os
from pathlib import Path
from typing import Any

from distributed.diagnostics.plugin import WorkerPlugin

from covalent_service import sockets

BUSY = ("executing", "long-running")  # Dask's states of a task that has a thread


class Note(WorkerPlugin):
    """Keeps the file of the worker that it is set up in."""

    def setup(self, worker: Any) -> None:
        self._file = _file(worker.address)
        self._keys: set[str] = set()

    def transition(self, key: Any, start: str, finish: str, **_details: Any) -> None:
        """Called before the task begins, and after it has ended."""
        if finish in BUSY:
            self._keys.add(str(key))
        elif start in BUSY:
            self._keys.discard(str(key))
        else:
            return
        self._file.write_text("\n".join(self._keys))


def last(address: str) -> set[str]:
    """The keys of the tasks that a worker that is gone was at; none if that cannot be told.

    One of another machine has no file, and one task at a time.
    """
    if not address.startswith(f"{sockets.SCHEME}://"):
        return set()
    file = _file(address)
    try:
        keys = file.read_text().splitlines()
        os.unlink(file)
    except OSError:
        return set()
    return set(keys)


def _file(address: str) -> Path:
    return Path(sockets.path(int(address.rpartition(":")[2])) + ".tasks")
