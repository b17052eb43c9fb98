"""A task's files travel with it, to a worker that has not the server's disk.

The scheduler has that disk: it reads the files as it hands the task to such a worker. Until then, and
after it, nobody has them in memory; a worker on this machine opens them itself, as released.
"""

import asyncio
import json
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from covalent.executor.utils.wrappers import run_task_group_alt
from dask._task_spec import Task
from distributed import get_worker
from distributed.protocol.serialize import ToPickle

from covalent_service import parcel, tls
from covalent_service.parcel import Parcel

PREFIX = "file://"
PARTS = ("output", "stdout", "stderr")
KINDS = ("functions", "inputs", "hooks")
# In this order: what is packed for the way, and Dask's own for all else that the scheduler answers.
DESERIALIZERS = [parcel.FAMILY, "dask", "pickle", "msgpack", "error"]


@dataclass(frozen=True)
class Job:
    """What Covalent has a worker of Dask do: a group of tasks, and where their files are."""

    specs: list[dict[str, Any]]
    resources: dict[str, dict[Any, str]]
    outputs: list[tuple[str, ...]]  # of each task: its result, what it printed, its errors
    folder: str  # for what became of each task
    metadata: dict[str, Any]
    url: str

    def sources(self) -> list[str]:
        """The files that the tasks read."""
        uris = (uri for kind in KINDS for uri in self.resources[kind].values())
        return list(dict.fromkeys(_path(uri) for uri in uris))

    def summary(self, node: int) -> Path:
        """The file in which Covalent says what became of a task."""
        name = f"result-{self.metadata['dispatch_id']}:{node}.json"
        return Path(self.folder) / name


class Pending:
    """What Covalent knows of Dask's future: its key, and that it can be awaited."""

    def __init__(self, future: Any, job: Job) -> None:
        self._future = future
        self._job = job
        self.key = future.key

    def __await__(self) -> Generator[Any, Any, None]:
        return self._finish().__await__()

    async def _finish(self) -> None:
        answer = await self._future
        if answer is not None:  # it ran on another machine
            await asyncio.to_thread(unpack, self._job, answer)


def run(job: Job) -> None:
    """On a worker with the server's disk."""
    run_task_group_alt(job.specs, job.resources, job.outputs, job.folder, job.metadata, job.url)


def for_worker(task: Any) -> Any:
    """The task, with its files if the worker that it was assigned to has not the server's disk."""
    spec = task.run_spec
    if not task.processing_on.address.startswith(f"{tls.SCHEME}://") or spec.func is not run:
        return spec
    (job,) = spec.args
    try:
        contents = [Path(path).read_bytes() for path in job.sources()]
    except OSError as error:
        return Task(task.key, fail, f"the task's files: {error}")
    return Task(task.key, run_apart, job, Parcel(contents))


def send_files(scheduler: Any) -> None:
    """Covalent has Dask's workers open a task's files by their paths on the server."""
    to_message = scheduler._task_to_msg

    def to_message_with_files(self: Any, task: Any) -> Any:
        return {**to_message(self, task), "run_spec": ToPickle(for_worker(task))}

    scheduler._task_to_msg = to_message_with_files


def fail(reason: str) -> None:
    """On a worker, in place of a task that cannot be sent."""
    raise OSError(reason)


def run_apart(job: Job, files: Parcel) -> Parcel:
    """On another machine: lay the files out, run the tasks, pack what they made."""
    with tempfile.TemporaryDirectory(prefix="covalent-task-", dir=_scratch()) as name:
        place = Path(name)
        here = {path: str(place / f"in-{number}") for number, path in enumerate(job.sources())}
        for path, content in zip(here.values(), files.pieces):
            Path(path).write_bytes(content)
        files.pieces.clear()
        resources = {
            kind: {key: here[_path(uri)] for key, uri in job.resources[kind].items()}
            for kind in KINDS
        }
        nodes = job.metadata["node_ids"]
        outputs = [tuple(str(place / f"{part}-{node}") for part in PARTS) for node in nodes]
        local = Job(job.specs, resources, outputs, name, job.metadata, job.url)
        run(local)
        return _pack(local)


def _scratch() -> str | None:
    """The folder of this worker, which Dask removes after the process was killed; else the system's."""
    try:
        return str(get_worker().local_directory)
    except ValueError:  # this is none
        return None


def _pack(job: Job) -> Parcel:
    """For each task, whether it failed, and in how many pieces its files come; then the pieces."""
    about, pieces = [], []
    for node, paths in zip(job.metadata["node_ids"], job.outputs):
        summary = json.loads(job.summary(node).read_text())
        found = [
            parcel.pieces(path) if summary[part]["uri"] else None
            for part, path in zip(PARTS, paths)
        ]
        counts = [None if one is None else len(one) for one in found]
        about.append([bool(summary["exception_occurred"]), counts])
        pieces += [piece for one in found for piece in one or ()]
    return Parcel([json.dumps(about).encode(), *pieces])


def unpack(job: Job, answer: Any) -> None:
    """On the server: write what another machine made to where Covalent looks for it.

    The paths are the server's own; the answer decides what is in the files, and no more.
    """
    if not isinstance(answer, Parcel):
        raise ValueError("a worker's answer is none of ours")
    first, *pieces = answer.pieces
    rest = iter(pieces)
    for node, paths, (failed, counts) in zip(
        job.metadata["node_ids"], job.outputs, json.loads(bytes(first))
    ):
        summary: dict[str, Any] = {"node_id": node, "exception_occurred": bool(failed)}
        for part, path, count in zip(PARTS, paths, counts):
            if count is None:
                summary[part] = {"uri": "", "size": 0}
                continue
            with open(path, "wb") as file:
                for piece in islice(rest, count):
                    file.write(piece)
                summary[part] = {"uri": path, "size": file.tell()}
        job.summary(node).write_text(json.dumps(summary))


def _path(uri: str) -> str:
    return uri.removeprefix(PREFIX)
