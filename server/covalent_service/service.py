"""The server itself: Covalent's application, run to its end."""

import asyncio
import functools
import gc
import logging
import os
import signal
import socket
import sys
import time
from ipaddress import ip_address
from multiprocessing.connection import wait
from threading import Lock, Thread, Timer
from typing import Any, NoReturn

import uvicorn

from covalent_service import (
    adjustments,
    arrivals,
    callers,
    children,
    database,
    dispatches,
    drain,
    executors,
    interrupted,
    logs,
    migration,
    peers,
    secrets,
    workflows,
)
from covalent_service.account import account_name
from covalent_service.interface import OwnPages
from covalent_service.local_users import LocalUsers
from covalent_service.logs import SERVICE
from covalent_service.notify import Notifier
from covalent_service.readiness import Readiness
from covalent_service.refusal import FAILED, MIGRATION_FAILED, Refusal
from covalent_service.same_origin import Access, AccessByProxy
from covalent_service.settings import Settings
from covalent_service.unproven import Unproven

# Seconds in which the request of a connection that was just accepted arrives.
SETTLING = 0.1
# Seconds from one process's end to another's when both are told: systemd tells all of a unit's that is
# masked while it runs, since it has forgotten the unit's KillMode= by then.
TOLD_APART = 1
# Seconds that open requests get at the end: the UI's long poll alone would take 25.
REQUESTS_TIMEOUT = 2
# Seconds for the whole stop. Local workflows are cancelled at once; remote executors
# (clusters, clouds) are told to cancel their jobs, and that takes a while.
STOP_TIMEOUT = 12
# Seconds after that for what the database is told, which may be what does not answer.
FINISH_TIMEOUT = 8


class StopRequested(BaseException):
    """A signal that came before there was a server to stop."""


def run(
    settings: Settings,
    listener: socket.socket,
    proxy: socket.socket | None,
    notifier: Notifier,
    database_address: str,
) -> int:
    """Start what Covalent consists of, serve until told to stop, leave nothing behind."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    children.adopt()
    service = _Service(settings, listener, proxy, notifier)
    try:
        return service.run(database_address)
    except StopRequested:
        return 0
    except Refusal as refusal:
        raise Refusal(str(refusal), service.exit_code_of(refusal.exit_code)) from refusal
    except Exception as error:
        if service.exit_code_of(FAILED) == FAILED:
            raise
        SERVICE.exception("the server failed")
        raise Refusal(f"{type(error).__name__}: {error}", MIGRATION_FAILED) from None
    finally:
        children.kill()


def _interrupt(_number: int, _frame: Any) -> NoReturn:
    raise StopRequested


class _Service:
    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        proxy: socket.socket | None,
        notifier: Notifier,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._proxy = proxy
        self._notifier = notifier
        self._store: Any = None
        self._server: Any = None
        self._running: list[interrupted.Workflow] = []
        self._exit_code = 0
        self._reason = ""
        self._unproven = Unproven(settings.home)
        self._migrated = False  # and not ready since
        self._finishing = Lock()

    def run(self, database_address: str) -> int:
        database.check_url(database_address)
        self._prepare_database(database_address)
        executors.load(self._settings.executor_dir)
        users = LocalUsers(self._settings.local_group)
        door = self._door(users)
        config = self._load(door, users)
        # Forked as late as this, the cluster shares the memory of all that is loaded by now, as long
        # as no collection of garbage looks at it. None has: holes that one leaves are filled later, by
        # either process in a copy of its own.
        gc.freeze()
        gc.enable()
        cluster = self._begin_cluster(door) if self._settings.dask else None
        config.load()
        if cluster:
            cluster.wait()
        self._notifier.status("waiting for the first answer")
        self._server = _Server(config, self._proxy, self._begin_to_stop, self._note_running)
        Readiness(self._settings, self._listener, self._notifier, self._ready, self._fail).start()
        if cluster:
            Thread(target=self._watch, args=(cluster,), name="dask", daemon=True).start()
        # uvicorn takes the signals over as it starts, and raises them again when it is done.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._server.handle_exit)
        try:
            self._server.run(sockets=[self._listener])
        except SystemExit:
            self._reason = "the server ended while it was starting"
            SERVICE.error(self._reason)
            self._exit_code = self.exit_code_of(FAILED)
        self._finish()
        if self._reason:
            self._notifier.status(self._reason)
        return self._exit_code

    def exit_code_of(self, code: int) -> int:
        """The exit code of a failure that would have this one without a migration before it."""
        return MIGRATION_FAILED if self._migrated else code

    def _ready(self) -> None:
        self._migrated = False
        self._unproven.clear()

    def _prepare_database(self, address: str) -> None:
        self._notifier.status("preparing the database")
        with executors.held_back(), secrets.shown(address):
            from covalent_dispatcher._db.datastore import workflow_db
            from covalent_ui.api.v1.database.config import db  # noqa: F401 # the pages' own

            adjustments.percent_in_address(type(workflow_db))
            adjustments.alembic_search_path(type(workflow_db))
            self._store = workflow_db
            # Alembic looks there as well.
            migration.prepare(workflow_db, self._settings, self._unproven)
        self._migrated = self._unproven.is_set()
        left = workflows.unfinished(workflow_db)
        workflows.cancel_unfinished(workflow_db)
        interrupted.report(left, self._settings.home)

    def _load(self, door: callers.Door, users: LocalUsers) -> uvicorn.Config:
        """Covalent's application, adjusted, with its logs going where ours go."""
        from covalent._shared_files import logger
        from covalent.executor import _executor_manager
        from covalent_dispatcher._core.data_modules import utils
        from covalent_dispatcher._object_store import local as object_store
        from covalent_dispatcher._service import app as dispatcher
        from covalent_ui import app
        from covalent_ui.api import main as api
        from covalent_ui.api.v1.data_layer.electron_dal import Electrons

        from covalent_service import dask_executor
        from covalent_service.throughput import raise_throughput

        adjustments.tar_filter()
        adjustments.process_errors()
        adjustments.interface_path(app)
        adjustments.task_files(Electrons)
        raise_throughput(self._store)
        adjustments.new_workflows_stay(dispatcher)
        adjustments.asset_addresses(object_store, utils, callers.site)
        dispatches.report(dispatcher, users, functools.partial(workflows.name_of, self._store))
        drain.refuse_new_workflows(dispatcher, self._settings.run_dir)
        if (
            plugins := _executor_manager.executor_plugins_map
        ):  # none with COVALENT_PLUGIN_LOAD=false
            adjustments.executor_folders(plugins)
            dask_executor.files_travel(plugins["dask"])
            adjustments.dask_connection(plugins["dask"])
            dask_executor.labels(plugins["dask"])
            dask_executor.cancel_ends_task(plugins["dask"])
            adjustments.local_pool(plugins["local"])
        if not self._settings.terminal:
            adjustments.terminal_off(api)
        config = uvicorn.Config(
            callers.Callers(OwnPages(app.fastapi_app), door, self._by_proxy()),
            http=arrivals.OverTcp,
            # What they say is believed of nobody who comes over TCP.
            proxy_headers=False,
            log_config=app.log_config(),
            timeout_graceful_shutdown=REQUESTS_TIMEOUT,
        )
        uvicorn_loggers = map(logging.getLogger, ("uvicorn.error", "uvicorn.access"))
        logs.to_file(self._settings.log_dir, logger.app_log, *uvicorn_loggers)
        return config

    def _door(self, users: LocalUsers) -> callers.Door:
        everywhere = self._settings.all_interfaces
        # Where the network is not served, nobody needs them, and looking for them takes time.
        access = Access(self._names(), everywhere, _machine() if everywhere else ())
        to_network = not ip_address(self._listener.getsockname()[0]).is_loopback
        if to_network:
            SERVICE.warning(
                "whoever reaches port %d over the network runs code as %s, without a login: "
                "covalent.env opens it. The package covalent-https is the way in with one",
                self._settings.port,
                account_name(),
            )
        if users.group:
            peers.check()
        else:
            SERVICE.warning(
                "every user of this machine runs code as %s: COVALENT_LOCAL_GROUP in covalent.env is "
                "empty",
                account_name(),
            )
        return callers.Door(access, users, to_network)

    def _by_proxy(self) -> Access:
        names = (*self._names(), *self._settings.https_names)
        return AccessByProxy(names, False, _machine() if self._proxy else ())

    def _names(self) -> tuple[str, ...]:
        return self._settings.address, *self._settings.allowed_hosts

    def _begin_cluster(self, door: callers.Door) -> Any:
        self._notifier.status("starting the Dask cluster")
        from covalent_service.cluster import Cluster

        settings = self._settings
        cluster = Cluster(settings.dashboard, door, settings.run_dir, settings.fleet)
        cluster.begin()
        return cluster

    def _watch(self, cluster: Any) -> None:
        """Without its cluster the server takes workflows and never runs them."""
        wait([cluster.ended])
        time.sleep(TOLD_APART)
        if not self._server.should_exit:
            self._fail(f"the Dask cluster is gone: {cluster.last_words()}")

    def _fail(self, reason: str) -> None:
        SERVICE.error(reason)
        self._reason = reason
        self._exit_code = self.exit_code_of(FAILED)
        self._server.should_exit = True
        self._begin_to_stop()

    def _begin_to_stop(self) -> None:
        self._notifier.send("STOPPING=1\nSTATUS=stopping")
        timer = Timer(STOP_TIMEOUT, self._give_up)
        timer.daemon = True
        timer.start()

    def _note_running(self) -> None:
        """Covalent cancels what runs, and then nothing tells it from what a person cancelled."""
        try:
            self._running = workflows.unfinished(self._store)
        except Exception:
            SERVICE.exception("which workflows run cannot be read from the database")

    def _give_up(self) -> None:
        SERVICE.error("not stopped after %d seconds: ended by force", STOP_TIMEOUT)
        last = Thread(target=self._finish, name="finish", daemon=True)
        last.start()
        last.join(FINISH_TIMEOUT)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self._exit_code)

    def _finish(self) -> None:
        """Nothing runs any more: say so in the database, which Covalent does not always."""
        with self._finishing:
            children.kill()
            try:
                self._note_interrupted()
            except Exception:
                SERVICE.exception("what was interrupted cannot be noted in the database")

    def _note_interrupted(self) -> None:
        running = (*self._running, *workflows.unfinished(self._store))
        workflows.cancel_unfinished(self._store)
        # Some of them may have come to their own end since.
        ended = workflows.cancelled(self._store, dict.fromkeys(running))
        interrupted.report(ended, self._settings.home)
        self._running = []


def _machine() -> tuple[str, ...]:
    """The names that this machine has by itself."""
    return socket.gethostname(), socket.getfqdn()


class _Server(uvicorn.Server):
    """Listens for the proxy as well; tells when it begins to stop, and before it ends what runs."""

    def __init__(
        self, config: uvicorn.Config, proxy: socket.socket | None, on_stop: Any, on_shutdown: Any
    ) -> None:
        super().__init__(config)
        self._proxy = proxy
        self._on_stop = on_stop
        self._on_shutdown = on_shutdown

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._proxy:
            loop: Any = asyncio.get_running_loop()
            # The next server listens at the same file.
            listening = loop.create_unix_server(
                self._from_proxy, sock=self._proxy, cleanup_socket=False
            )
            self.servers.append(await listening)

    def _from_proxy(self) -> Any:
        return arrivals.FromProxy(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def handle_exit(self, sig: int, frame: Any) -> None:
        if not self.should_exit:
            self._on_stop()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_shutdown()
        # Who is not accepted by now waits for the next server; who was gets an answer of this one.
        for server in self.servers:
            server.close()
        await asyncio.sleep(SETTLING)
        await super().shutdown(sockets)
