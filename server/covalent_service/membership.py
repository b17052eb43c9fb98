"""One stay of this machine in the fleet, from its admission to its end."""

import asyncio
import logging
import signal
import time
from contextlib import suppress
from typing import Any

import dask.config
from distributed import Nanny, system
from distributed.comm import connect, listen
from distributed.core import Status, send_recv

from covalent_service import adjustments, environment, joined, memory, pages
from covalent_service.drain import FILE as DRAINING
from covalent_service.notify import Notifier
from covalent_service.reach import Waiting
from covalent_service.worker_settings import WorkerSettings

INTERVAL = 0.5  # seconds from one look at the processes, and at the mark of a drain, to the next
REPORT_INTERVAL = 2  # seconds from one word with the scheduler to the next
ANSWER_TIMEOUT = 30  # seconds; what is cut off is seen by then at the latest, as by Dask
START_TIMEOUT = 60  # seconds for the processes to register
CLOSE_TIMEOUT = 10  # seconds for them to end by themselves
PRELOAD = "covalent_service.fleet_worker"
# Dask's states of a process that is up, or will be.
PRESENT = (Status.init, Status.starting, Status.running)


class Different(Exception):
    """The server's environment is not this machine's. The message says how."""

    def __init__(self, message: str, lock: str) -> None:
        super().__init__(message)
        self.lock = lock  # of the administrator's packages on the server


class Lost(Exception):
    """The server is gone, or does not want this machine any more."""


class Membership:
    """The processes that run tasks, and the connection on which this machine is heard of."""

    def __init__(self, settings: WorkerSettings, own_address: str, notifier: Notifier) -> None:
        self._settings = settings
        self._address = f"[{own_address}]" if ":" in own_address else own_address
        self._notifier = notifier
        self._stop = asyncio.Event()
        self._nannies: list[Any] = []
        self._comm: Any = None

    async def last(self) -> None:
        """Come in, run tasks, and return when told to stop. Raises what ends it otherwise."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        joined.join(self._settings.folder, self._settings.name)
        pages.close()
        logging.getLogger("distributed").setLevel(logging.WARNING)
        adjustments.idle_cluster()
        adjustments.workers_share_memory()
        adjustments.processes_end_quietly()
        # A process of a task may have children of its own.
        dask.config.set({"distributed.worker.daemon": False})
        await self._ask_to_come_in()
        await self._start()
        await self._stay()
        self._notifier.send("STOPPING=1\nSTATUS=stopping")
        closing = (nanny.close(reason="stopped") for nanny in self._nannies)
        with suppress(asyncio.TimeoutError):  # what is left ends with this process
            await asyncio.wait_for(asyncio.gather(*closing), CLOSE_TIMEOUT)

    async def _ask_to_come_in(self) -> None:
        """The server looks at the environment, and whether it reaches this machine."""
        listener = await self._listen()
        try:
            self._comm = await connect(f"tls://{self._settings.server}")
            ports = self._settings.ports
            answer = await self._ask(
                "admit",
                machine=environment.describe(),
                address=listener.contact_address,
                ports=f"{ports[0]}-{ports[-1]}",
            )
        except (OSError, asyncio.TimeoutError) as error:
            raise Waiting(str(error) or "it does not answer") from None
        finally:
            listener.stop()
        if answer["status"] == "OK":
            return
        self._comm.abort()  # it is asked on another connection the next time
        if lock := answer.get("lock"):
            raise Different(answer["reason"], lock)
        raise Waiting(answer["reason"])

    async def _listen(self) -> Any:
        for port in self._settings.ports:
            try:
                return await listen(f"tls://{self._address}:{port}", _ignore)
            except OSError as error:
                failure = error
        raise Waiting(f"none of the ports at {self._address} is free: {failure.strerror}")

    async def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        question = send_recv(self._comm, op=operation, **arguments)
        answer: dict[str, Any] = await asyncio.wait_for(question, ANSWER_TIMEOUT)
        return answer

    async def _start(self) -> None:
        settings = self._settings
        ports = f"{settings.ports[0]}:{settings.ports[-1]}"
        self._nannies = [
            Nanny(
                f"tls://{settings.server}",
                name=f"{settings.name}-{number}",
                nthreads=1,  # Covalent redirects what a whole process prints
                memory_limit=settings.memory or _share(settings.processes),
                resources=settings.resources or None,
                host=self._address,
                port=ports,
                worker_port=ports,
                preload=[PRELOAD],
                local_directory=str(settings.cache_dir),
                death_timeout=START_TIMEOUT,
                silence_logs=logging.WARNING,
            )
            for number in range(settings.processes)
        ]
        try:
            await asyncio.gather(*self._nannies)
        except Exception as error:
            raise Lost(f"its processes did not start: {error}") from error

    async def _stay(self) -> None:
        mark = self._settings.run_dir / DRAINING
        drained, asked, whole = False, 0.0, time.monotonic()
        while not self._stop.is_set():
            if any(nanny.status not in PRESENT for nanny in self._nannies):
                raise Lost("the connection to the server is lost")
            if all(map(_is_registered, self._nannies)):
                whole = time.monotonic()
            elif time.monotonic() - whole > START_TIMEOUT:  # such as after an upgrade beneath it
                raise Lost("a process that ended does not come back")
            wanted = mark.exists()
            if wanted != drained or time.monotonic() - asked > REPORT_INTERVAL:
                drained, asked = wanted, time.monotonic()
                try:
                    report = await self._ask("report", draining=wanted)
                except (OSError, asyncio.TimeoutError) as error:
                    raise Lost("the connection to the server is lost") from error
                self._notifier.status(self._in_words(report))
            if self._notifier.watchdog:
                self._notifier.send("WATCHDOG=1")
            try:
                await asyncio.wait_for(self._stop.wait(), INTERVAL)
            except asyncio.TimeoutError:
                pass

    def _in_words(self, report: dict[str, Any]) -> str:
        if report["draining"]:
            return f"draining: {report['busy']} of {report['slots']} busy"
        tasks = "1 task" if report["slots"] == 1 else f"{report['slots']} tasks"
        return f"{tasks} at a time for {self._settings.server}"


def _is_registered(nanny: Any) -> bool:
    return nanny.process is not None and nanny.process.status == Status.running


def _share(processes: int) -> int:
    """Of the memory that the machine, or the unit, has."""
    return min(system.MEMORY_LIMIT, memory.limit() or system.MEMORY_LIMIT) // processes


async def _ignore(comm: Any) -> None:
    """Whoever connects has seen that the port can be reached."""
    comm.abort()
