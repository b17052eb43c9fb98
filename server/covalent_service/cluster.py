"""The Dask cluster: a process of Covalent's that keeps the scheduler and starts the workers."""

import os
import signal
from multiprocessing import Pipe, forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from covalent._shared_files import logger
from covalent._shared_files.config import update_config
from covalent_dispatcher._service import app_dask
from distributed import Scheduler, system

from covalent_service import adjustments, at_work, carry, memory, pages, sockets, waiting
from covalent_service.callers import Door
from covalent_service.fleet import Fleet
from covalent_service.refusal import Refusal
from covalent_service.settings import FleetSettings

START_TIMEOUT = 60  # seconds; two workers take less than two, many on a slow disk take longer


class Cluster:
    """The cluster of this server, from its start to its end."""

    def __init__(
        self, dashboard: str, door: Door, run_directory: Path, fleet: FleetSettings
    ) -> None:
        """`dashboard` is where Dask shows its pages to those who are let in; empty for nowhere."""
        sockets.prepare(run_directory)
        if dashboard:
            pages.guard(door)
            adjustments.dashboard_address(app_dask, dashboard)
        else:
            pages.close()
        if limit := memory.limit():
            system.MEMORY_LIMIT = min(system.MEMORY_LIMIT, limit)
        adjustments.suspects(Scheduler, at_work.last)
        adjustments.cluster_by_files(app_dask, sockets.SCHEME)
        waiting.wait_at_the_scheduler(Scheduler)
        carry.send_files(Scheduler)
        carry.keep_answers(Scheduler)
        adjustments.scheduler_plugin(app_dask, Fleet(fleet, run_directory))
        adjustments.cluster_failure(app_dask)
        adjustments.cluster_stays(app_dask)
        adjustments.worker_preload("covalent_service.worker")
        adjustments.idle_cluster()
        adjustments.workers_share_memory()
        adjustments.processes_end_quietly()
        self._news, far_end = Pipe(duplex=False)
        self._process = _Process(name="LocalDaskCluster", logger=logger.app_log, conn=far_end)

    def begin(self) -> None:
        """Start it, and do not wait until it is there."""
        self._process.start()

    def wait(self) -> None:
        """Tell Covalent where it is once it is ready, or refuse with its last words."""
        ready = wait([self._news, self.ended], START_TIMEOUT)
        if self._news in ready:
            news = self._news.recv()
            if isinstance(news, dict):
                update_config(news)
                return
            raise Refusal(f"the Dask cluster did not start: {news}")
        if self.ended in ready:
            raise Refusal(f"the Dask cluster did not start: {self.last_words()}")
        raise Refusal(f"the Dask cluster was not ready after {START_TIMEOUT} seconds")

    @property
    def ended(self) -> int:
        """A handle that `multiprocessing.connection.wait` returns when the process is gone."""
        return self._process.sentinel

    def last_words(self) -> str:
        """How the process ended."""
        self._process.join()
        code = self._process.exitcode or 0
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"


class _Process(app_dask.DaskCluster):
    """Covalent's process, which reports a failure instead of leaving the server waiting."""

    def run(self) -> Any:
        os.setsid()  # Ctrl-C in a terminal is the launcher's business: it ends the cluster
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            # It loads what workers share while the scheduler starts.
            forkserver.ensure_running()
            super().run()
        except BaseException as error:
            self.conn.send(str(error) or type(error).__name__)
            raise
