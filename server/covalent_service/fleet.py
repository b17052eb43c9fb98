"""The workers of other machines, as Dask's scheduler sees them.

It listens twice: on a Unix socket for this machine, and on a port for the fleet, from when root has
put certificates and a first name there until the last name is gone.
"""

import asyncio
import functools
import os
import pickle
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin

from covalent_service import roll, waiting
from covalent_service.admission import Admission
from covalent_service.logs import SERVICE
from covalent_service.settings import FleetSettings

INTERVAL = 1  # seconds from one look at root's folder to the next
# Seconds in which Dask takes a task that is cancelled from its worker, and then ends the worker.
CANCEL_TIMEOUT = 5
KILL_TIMEOUT = 1
OLD_DASK = "COVALENT_USE_OLD_DASK"  # Covalent's variable
# What Dask says of its listeners itself: that nobody packs for it as it would.
HANDSHAKE = {"pickle-protocol": 4, "compression": None}


class Fleet(SchedulerPlugin):
    """What the scheduler is started with, to have a fleet."""

    name = "fleet"

    def __init__(self, settings: FleetSettings, run_directory: Path) -> None:
        self._settings = settings
        self._admission = Admission(settings.folder)
        self._roll = roll.Roll(run_directory)
        self._certificates: Any = None  # the state of the files that it listens with
        self._failure = ""
        self._asked_to_drain: set[str] = set()  # by the machines themselves
        self._draining: set[str] = set()
        self._unmet: dict[Any, float] = {}  # since when nobody has what a task asks for
        self._endings: set[asyncio.Task[None]] = set()

    async def start(self, scheduler: Any) -> None:
        """Called by Dask, once it listens for this machine."""
        self._scheduler = scheduler
        self._admission.guard(scheduler)
        scheduler.handlers["report"] = self._report
        news = scheduler.stream_handlers
        news["end-task"] = self._end_task
        news["worker-status-change"] = self._unless_draining(news["worker-status-change"])
        self._watch = asyncio.create_task(self._watch_folder())

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Called by Dask before the worker is given anything."""
        if self._admission.backend.owners.get(worker) in self._draining:
            self._set_status(scheduler.workers[worker], Status.paused)

    async def close(self) -> None:
        """Called by Dask."""
        self._watch.cancel()

    async def _watch_folder(self) -> None:
        while True:
            try:
                await self._look()
            except Exception:
                SERVICE.exception("the fleet was not looked after")
            await asyncio.sleep(INTERVAL)

    async def _look(self) -> None:
        folder = self._settings.folder
        names = _contents(folder / "workers")
        before, self._admission.listed = self._admission.listed, names
        for name in before:
            if names.get(name) != before[name]:
                await self._admission.remove(name)
        certificates = self._admission.backend.identity.state() if names else None
        if certificates != self._certificates:
            self._stop_listening()
            listens = bool(certificates) and await self._listen()
            self._certificates = certificates if listens else None
        self._drain(names.keys() & (_contents(folder / "draining").keys() | self._asked_to_drain))
        self._roll.write(
            {
                name: roll.member(
                    self._admission.workers_of(name),
                    name in self._draining,
                    self._admission.refusal(name),
                )
                for name in names
            },
            self._give_up_waiting(),
        )

    # ---- The port

    async def _listen(self) -> bool:
        """What is in the way is told once, and tried again."""
        address = self._settings.listen
        host, _, port = address.rpartition(":")
        host = "" if host == "[::]" else host  # of both protocols
        try:
            if os.environ.get(OLD_DASK) == "1":
                raise ValueError(f"{OLD_DASK} takes pickled results, and other machines send none")
            await self._scheduler.listen(
                f"tls://{host}:{port}", allow_offload=False, handshake_overrides=HANDSHAKE
            )
        except (OSError, ValueError) as error:
            if str(error) != self._failure:
                SERVICE.error("cannot listen for the fleet at %s: %s", address, error)
            self._failure = str(error)
            return False
        self._failure = ""
        SERVICE.info("listening for the fleet at %s", address)
        return True

    def _stop_listening(self) -> None:
        first, *others = self._scheduler.listeners
        self._scheduler.listeners[:] = [first]
        for listener in others:
            listener.stop()
            SERVICE.info("not listening for the fleet any more")

    # ---- Draining

    def _report(self, comm: Any, draining: bool) -> dict[str, Any]:
        """Asked by each machine every few seconds; says whether it wants to be drained."""
        name = comm.peer.name
        (self._asked_to_drain.add if draining else self._asked_to_drain.discard)(name)
        workers = self._admission.workers_of(name)
        return {
            "busy": sum(len(worker.processing) for worker in workers),
            "slots": sum(worker.nthreads for worker in workers),
            "draining": name in self._draining,
        }

    def _drain(self, names: set[str]) -> None:
        """Dask's own drain moves what runs, or leaves what waits behind it for ever."""
        resumed, self._draining = self._draining - names, names
        for name in names:
            for worker in self._admission.workers_of(name):
                self._set_status(worker, Status.paused)
        for name in resumed:
            for worker in self._admission.workers_of(name):
                self._set_status(worker, Status.running)

    def _unless_draining(self, change: Any) -> Any:
        """A worker whose memory is enough again says that it runs."""

        @functools.wraps(change)
        def change_unless_draining(status: Any, worker: Any, stimulus_id: str) -> None:
            if self._admission.backend.owners.get(worker) not in self._draining:
                change(status=status, worker=worker, stimulus_id=stimulus_id)

        return change_unless_draining

    def _set_status(self, worker: Any, status: Status) -> None:
        self._scheduler.handle_worker_status_change(
            status=status, worker=worker, stimulus_id=f"fleet-{time.time()}"
        )

    # ---- Tasks

    def _give_up_waiting(self) -> dict[str, int]:
        """Fail what nobody could run for too long; return how many tasks wait for which label."""
        groups = defaultdict(list)
        for task in self._scheduler.queued:
            groups[waiting.labels(task)].append(task)
        workers = self._scheduler.workers.values()
        now = time.monotonic()
        self._unmet = {
            wanted: self._unmet.get(wanted, now)
            for wanted in groups
            if not any(waiting.fits(worker, wanted) for worker in workers)
        }
        for wanted, since in self._unmet.items():
            if now - since > self._settings.wait:
                self._fail(groups[wanted], wanted)
        counts: Counter[str] = Counter()
        for wanted in self._unmet:
            counts.update({name: len(groups[wanted]) for name, _ in wanted})
        return dict(counts)

    def _fail(self, tasks: list[Any], wanted: waiting.Labels) -> None:
        what = f"with {waiting.in_words(wanted)}" if wanted else "at all"
        error = TimeoutError(
            f"there was no worker {what} for {self._settings.wait:g} s (COVALENT_FLEET_WAIT)"
        )
        stimulus = f"fleet-wait-{time.time()}"
        for task in tasks:
            more = self._scheduler.transition(
                task.key, "erred", stimulus, exception=pickle.dumps(error), cause=task.key
            )
            self._scheduler.transitions(more, stimulus)

    def _end_task(self, key: str, client: str) -> None:
        """End the process that runs a task which is about to be cancelled; it gets no other first."""
        task = self._scheduler.tasks.get(key)
        worker = task.processing_on if task else None
        # With more threads than one, it has other tasks to finish.
        if worker and len(worker.processing) == 1:
            self._set_status(worker, Status.closing_gracefully)
            ending = asyncio.create_task(self._end_process(worker, task))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    async def _end_process(self, worker: Any, task: Any) -> None:
        deadline = time.monotonic() + CANCEL_TIMEOUT
        while task in worker.processing:
            if time.monotonic() > deadline:  # it was not cancelled
                self._set_status(worker, Status.running)
                return
            await asyncio.sleep(0.05)
        try:
            await self._scheduler.rpc(worker.nanny).kill(
                timeout=KILL_TIMEOUT, reason="its task was cancelled"
            )
        except OSError as error:
            SERVICE.warning("the process of a cancelled task was not ended: %s", error)


def _contents(folder: Path) -> dict[str, str]:
    """The names of the files there, and what is in each; without those that are being written."""
    found = {}
    for file in folder.glob("[!.]*"):
        with suppress(OSError):  # it was removed meanwhile
            found[file.name] = file.read_text().strip()
    return found
