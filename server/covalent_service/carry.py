"""A task's files travel with it, to a worker that has not the server's disk, and come back.

The scheduler has that disk: it reads the files as it hands the task to such a worker, and writes those
that the task made as it is asked for the answer. Until then, and after it, nobody has them in memory;
a worker on this machine opens them itself, as released.
"""

import asyncio
import functools
import json
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dask._task_spec import Task
from distributed import get_worker
from distributed.protocol.serialize import (
    Serialized,
    ToPickle,
    merge_and_deserialize,
    to_serialize,
)

from covalent_service import parcel, plain, tls, values
from covalent_service.parcel import Parcel

PREFIX = "file://"
PARTS = ("output", "stdout", "stderr")
KINDS = ("functions", "inputs", "hooks")
# In this order: what is packed for the way, and Dask's own for what local workers answer.
SERIALIZERS = [parcel.FAMILY, "dask", "pickle", "error"]


@dataclass(frozen=True)
class Job:
    """What Covalent has a worker of Dask do: a group of tasks, and where their files are."""

    specs: list[dict[str, Any]]
    resources: dict[str, dict[Any, str]]
    outputs: list[tuple[str, ...]]  # of each task: its result, what it printed, its errors
    folder: str  # for what became of each task
    metadata: dict[str, Any]
    url: str

    def arguments(self) -> tuple[Any, ...]:
        """What Covalent's function is called with."""
        return self.specs, self.resources, self.outputs, self.folder, self.metadata, self.url

    def sources(self) -> list[str]:
        """The files that the tasks read."""
        uris = (uri for kind in KINDS for uri in self.resources[kind].values())
        return list(dict.fromkeys(_path(uri) for uri in uris))

    def summary(self, node: int) -> Path:
        """The file in which Covalent says what became of a task."""
        name = f"result-{self.metadata['dispatch_id']}:{node}.json"
        return Path(self.folder) / name


def run(job: Job) -> None:
    """On a worker with the server's disk."""
    values.run_task_group(*job.arguments())


def for_worker(task: Any) -> Any:
    """The task, with its files if the worker that it was assigned to has not the server's disk."""
    spec = task.run_spec
    if not task.processing_on.address.startswith(f"{tls.SCHEME}://") or not _is_job(spec):
        return spec
    (job,) = spec.args
    try:
        contents = [parcel.content(path) for path in job.sources()]
    except OSError as error:
        return Task(task.key, fail, f"the task's files: {error}")
    return Task(task.key, run_apart, job, Parcel(contents))


def _is_job(spec: Any) -> bool:
    return getattr(spec, "func", None) is run


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
    """On another machine: run the tasks with these in the place of the files, pack what they made."""
    memory = values.Memory(zip(job.sources(), files.pieces))
    with tempfile.TemporaryDirectory(prefix="covalent-task-", dir=_scratch()) as name:
        place = Path(name)
        nodes = job.metadata["node_ids"]
        outputs = [tuple(str(place / f"{part}-{node}") for part in PARTS) for node in nodes]
        local = Job(job.specs, _by_path(job.resources), outputs, name, job.metadata, job.url)
        memory.run_task_group(*local.arguments())
        return _pack(local, memory)


def _scratch() -> str | None:
    """The folder of this worker, which Dask removes after the process was killed; else the system's."""
    try:
        return str(get_worker().local_directory)
    except ValueError:  # this is none
        return None


def _by_path(resources: dict[str, dict[Any, str]]) -> dict[str, dict[Any, str]]:
    return {kind: {key: _path(uri) for key, uri in resources[kind].items()} for kind in KINDS}


def _pack(job: Job, memory: values.Memory) -> Parcel:
    """For each task, whether it failed, and in how many pieces its files come; then the pieces."""
    about, pieces = [], []
    for node, paths in zip(job.metadata["node_ids"], job.outputs):
        summary = json.loads(job.summary(node).read_text())
        found = [
            (memory[path].pieces if path in memory else parcel.pieces(path))
            if summary[part]["uri"]
            else None
            for part, path in zip(PARTS, paths)
        ]
        counts = [None if one is None else len(one) for one in found]
        about.append([bool(summary["exception_occurred"]), counts])
        pieces += [piece for one in found for piece in one or ()]
    return Parcel([json.dumps(about).encode(), *pieces])


def keep_answers(scheduler: Any) -> None:
    """Covalent's server would be sent by the scheduler what this can write down itself."""
    gather = scheduler.gather

    @functools.wraps(gather)
    async def gather_and_write(self: Any, keys: Any, serializers: Any = None) -> Any:
        specs = {key: self.tasks[key].run_spec for key in keys if key in self.tasks}
        jobs = {key: spec.args[0] for key, spec in specs.items() if _is_job(spec)}
        if jobs:
            serializers = SERIALIZERS
        answer = await gather(self, keys=keys, serializers=serializers)
        found = answer.get("data", {})
        for key in jobs.keys() & found.keys():
            if _is_packed(found[key]):  # it ran on another machine
                found[key] = await asyncio.to_thread(_write, jobs[key], found[key])
        return answer

    scheduler.gather = gather_and_write


def _is_packed(value: Any) -> bool:
    """Whether it is a parcel, as it travels."""
    return isinstance(value, Serialized) and value.header.get("serializer") == parcel.FAMILY


def _write(job: Job, packed: Serialized) -> Any:
    try:
        unpack(job, merge_and_deserialize(packed.header, packed.frames, [parcel.FAMILY]))
    except Exception as error:  # a full disk, or whatever a worker can make of an answer
        return plain.failed(f"the task's results: {type(error).__name__}: {error}")
    return to_serialize(None)  # as a local worker answers, that has written the files itself


def unpack(job: Job, answer: Any) -> None:
    """Beside the server: write what another machine made to where Covalent looks for it.

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
            with values.open_anew(path, "wb") as file:
                for piece in islice(rest, count):
                    file.write(piece)
                summary[part] = {"uri": path, "size": file.tell()}
        job.summary(node).write_text(json.dumps(summary))


def _path(uri: str) -> str:
    return uri.removeprefix(PREFIX)
