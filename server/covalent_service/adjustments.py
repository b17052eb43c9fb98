"""What Covalent 0.240 does that a service cannot live with: one function each.

Covalent's own files are never edited. `tests/server_env` has a test for each function that
fails as soon as Covalent no longer does what the function is for, so that it can go.
"""

import contextvars
import copy
import functools
import logging
import multiprocessing
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask.config
import distributed.utils

from covalent_service.local_pool import LocalPool
from covalent_service.tar import with_tar_filter

TERMINAL_EVENTS = ("start_terminal", "pty-input", "resize", "disconnect")
# How the executors' own defaults for a folder end, whoever's account they are made in.
DEFAULT_FOLDERS = {
    "workdir": ["covalent/workdir"],
    "cache_dir": [".cache/covalent", "executor_plugins/covalent-slurm-cache"],
}
# What Dask does most while nothing runs, as rarely as is enough.
IDLE_CLUSTER = {
    "distributed": {
        # What a task is at, a hundred times a second: for a page that needs bokeh.
        "worker": {
            "profile": {"enabled": False},
            # Whether a worker has too much memory, which two processes look at for each. The kernel ends
            # workers first, too (memory.py), should one grow faster than that.
            "memory": {"monitor-interval": "250ms"},
        },
        "admin": {
            # Whether an event loop hangs; it is told from 3 s on.
            "tick": {"interval": "500ms"},
            # What /metrics says of a process; the limits of memory do not depend on it.
            "system-monitor": {"interval": "5s"},
        },
    }
}
# What a worker loads before its first task, but for Covalent itself: that loads executors, among them
# an administrator's own.
SHARED_BY_WORKERS = ["distributed.nanny", "networkx", "pydantic", "requests"]
# Characters of a failed command's output that are shown: its end, where the reason stands.
OUTPUT_LIMIT = 4000


class ClusterFailure(BaseException):
    """Why the Dask cluster did not start. No `Exception`: Covalent logs those and goes on."""


def tar_filter() -> None:
    """Covalent unpacks sublattices with `extractall(filter="tar")`, unknown to Python 3.11.2."""
    if not hasattr(tarfile, "tar_filter"):
        archive: Any = tarfile.TarFile
        archive.extractall = with_tar_filter(archive.extractall)


def terminal_off(api: Any) -> None:
    """Covalent's UI gives a shell to everyone, and to every web page, that reaches the port."""
    for event in TERMINAL_EVENTS:
        api.sio.handlers["/"].pop(event, None)


def percent_in_address(datastore: Any) -> None:
    """Covalent gives Alembic the database's address as text in which a percent sign means more.

    Whoever has to write a character of a password as one gets no server, and the password is in
    the error.
    """
    get_config = datastore.get_alembic_config

    @functools.wraps(get_config)
    def get_escaped(store: Any, *arguments: Any, **options: Any) -> Any:
        escaped = copy.copy(store)
        escaped.db_URL = store.db_URL.replace("%", "%%")
        return get_config(escaped, *arguments, **options)

    datastore.get_alembic_config = get_escaped


def alembic_search_path(datastore: Any) -> None:
    """Covalent has Alembic put the working directory first on the module search path.

    Tasks write there: what they leave would be imported in place of Python's own modules.
    """
    get_config = datastore.get_alembic_config

    @functools.wraps(get_config)
    def get_without(store: Any, *arguments: Any, **options: Any) -> Any:
        config = get_config(store, *arguments, **options)
        config.set_main_option("prepend_sys_path", "")
        return config

    datastore.get_alembic_config = get_without


def new_workflows_stay(dispatcher: Any) -> None:
    """Covalent cancels, as it ends, what a client has sent and is about to start.

    During a restart, the client starts it on the next server.
    """
    cancel_all = dispatcher.cancel_all_with_status

    @functools.wraps(cancel_all)
    async def cancel_all_but_new(status: Any) -> None:
        if str(status) != "NEW_OBJECT":
            await cancel_all(status)

    dispatcher.cancel_all_with_status = cancel_all_but_new


def interface_path(app: Any) -> None:
    """Covalent finds its UI relative to the working directory, which is the tasks' own."""
    build = Path(app.__file__).parent / app.WEBAPP_PATH
    app.templates = type(app.templates)(directory=build)
    app.socketio_app.static_files = {"": str(build), "/": str(build / "index.html")}


def task_files(electrons: Any) -> None:
    """Covalent 0.240 looks for a task's files in the data directory itself, where none are.

    Earlier ones noted the folder of the task in the same column.
    """
    get_row = electrons.get_electrons_id

    @functools.wraps(get_row)
    def get_row_with_folder(self: Any, dispatch_id: Any, node: int) -> Any:
        row = get_row(self, dispatch_id, node)
        if row is None or Path(row["storage_path"]).name == f"node_{node}":
            return row
        return {**row, "storage_path": f"{row['storage_path']}/{dispatch_id}/node_{node}"}

    electrons.get_electrons_id = get_row_with_folder


def executor_folders(plugins: Mapping[str, Any]) -> None:
    """Covalent has tasks write where a client's `LocalExecutor()` would: in the client's home.

    So do executors that come as plugins, for files that they send elsewhere.
    """
    own = vars(plugins["dask"]())  # the one that has both
    for plugin in dict.fromkeys(plugins.values()):
        plugin.from_dict = _with_own_folders(plugin.from_dict, own)


def _with_own_folders(from_dict: Any, own: Mapping[str, Any]) -> Any:
    """Defaults that this account can't use become its own; what a client chose itself stays."""

    @functools.wraps(from_dict)
    def from_dict_with_own_folders(executor: Any, description: Any) -> Any:
        from_dict(executor, description)
        for name, ends in DEFAULT_FOLDERS.items():
            folder = getattr(executor, name, None)
            if folder and _is_anothers_default(Path(folder), ends):
                setattr(executor, name, type(folder)(own[name]))
        return executor

    return from_dict_with_own_folders


def _is_anothers_default(folder: Path, ends: list[str]) -> bool:
    return any(folder.match(f"*/{end}") for end in ends) and not _can_be_written(folder)


def _can_be_written(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that is there, takes new files."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return os.access(there, os.W_OK | os.X_OK)


def dask_connection(executor: Any) -> None:
    """Covalent connects to Dask for each task, and for each it cancels, and never disconnects."""
    plugin = executor.send.__globals__  # found nowhere else: Covalent loads it from its file
    connect = plugin["Client"]
    clients: dict[str, Any] = {}

    def client(address: str, asynchronous: bool) -> Any:
        known = clients.get(address)
        # A task that waits for the connection gives up after 5 s, and the connection with it.
        if not known or known.status in ("closing", "closed") or known._started.cancelled():
            clients[address] = connect(address=address, asynchronous=asynchronous)
        return clients[address]

    plugin["Client"] = client


def local_pool(executor: Any) -> None:
    """Covalent's local executor has one pool, and none any more once a process of it was killed."""
    executor.run.__globals__["proc_pool"] = LocalPool()  # found nowhere else, as above


def process_errors() -> None:
    """Covalent drops what pip or the shell said when a task's dependencies cannot be installed."""
    error: Any = subprocess.CalledProcessError
    if not hasattr(error.__str__, "__wrapped__"):
        error.__str__ = _with_output(error.__str__)


def _with_output(describe: Any) -> Any:
    @functools.wraps(describe)
    def describe_with_output(error: subprocess.CalledProcessError) -> str:
        text = describe(error)
        for output in (error.stdout, error.stderr):
            if output:
                words = output.decode(errors="replace") if isinstance(output, bytes) else output
                text += f"\n{words[-OUTPUT_LIMIT:].strip()}"
        return text

    return describe_with_output


def dashboard_address(app_dask: Any, address: str) -> None:
    """Covalent leaves Dask's dashboard where Dask puts it: on every interface, to everyone."""
    app_dask.LocalCluster = functools.partial(app_dask.LocalCluster, dashboard_address=address)


def cluster_by_files(app_dask: Any, scheme: str) -> None:
    """Covalent lets Dask listen on loopback, where it takes code from every user of the machine.

    So does the listener of its own that `covalent cluster` asks, by TCP alone: there is none.
    """
    app_dask.LocalCluster = functools.partial(app_dask.LocalCluster, protocol=scheme)
    app_dask.DaskAdminWorker.run = lambda _thread: None


def scheduler_plugin(app_dask: Any, plugin: Any) -> None:
    """Covalent gives its scheduler nothing: no port for other machines, and nobody to let them in."""
    app_dask.LocalCluster = functools.partial(
        app_dask.LocalCluster, scheduler_kwargs={"plugins": [plugin]}
    )


def suspects(scheduler: Any, at_work: Callable[[str], set[str]]) -> None:
    """Dask gives a task up that lost four workers, and every one that waited behind it each time."""
    remove_worker = scheduler.remove_worker

    @functools.wraps(remove_worker)
    async def remove_worker_of(self: Any, address: str, *arguments: Any, **options: Any) -> Any:
        worker = self.workers.get(address)
        if worker and not options.get("expected") and (busy := at_work(address)):
            for task in worker.processing:
                task.suspicious -= str(task.key) not in busy
        return await remove_worker(self, address, *arguments, **options)

    scheduler.remove_worker = remove_worker_of


def worker_preload(module: str) -> None:
    """Covalent starts Dask's workers afresh: nothing that is adjusted here reaches them."""
    preload = dask.config.get("distributed.worker.preload", default=[])
    preload = [preload] if isinstance(preload, str) else list(preload)
    dask.config.set({"distributed.worker.preload": [*preload, module]})


def idle_cluster() -> None:
    """Covalent leaves Dask's defaults, with which idle workers take 3 % of a core each.

    What an administrator has set in their place stays.
    """
    dask.config.update_defaults(IDLE_CLUSTER)


def workers_share_memory() -> None:
    """Dask starts each worker afresh, with 60 MB of its own, half of which is the same in each.

    Forked from one process that has loaded it, they share it.
    """
    dask.config.update_defaults(
        {"distributed": {"worker": {"multiprocessing-method": "forkserver"}}}
    )
    multiprocessing.set_forkserver_preload(SHARED_BY_WORKERS)
    # Dask's own list has NumPy and pandas in it, and it loads them in this process, too.
    distributed.utils._forkserver_preload_set = True


def processes_end_quietly() -> None:
    """Dask warns of each process that it has to kill, as of that of each cancelled task."""
    nanny = logging.getLogger("distributed.nanny")
    nanny.addFilter(lambda record: "still alive after" not in record.getMessage())


def cluster_failure(app_dask: Any) -> None:
    """Covalent logs why Dask failed, fails at the missing cluster, and waits for ever for it."""
    start = app_dask.LocalCluster

    def local_cluster(*arguments: Any, **options: Any) -> Any:
        try:
            return start(*arguments, **options)
        except Exception as error:
            raise ClusterFailure(f"{type(error).__name__}: {error}") from error

    app_dask.LocalCluster = local_cluster


def cluster_stays(app_dask: Any) -> None:
    """Covalent lets Dask's process run off its end, where Python 3.13 refuses new threads."""
    run = app_dask.DaskCluster.run

    def run_and_stay(cluster: Any) -> None:
        run(cluster)
        threading.Event().wait()

    app_dask.DaskCluster.run = run_and_stay


def configuration_when_changed(executors: Any) -> None:
    """Covalent locks, reads and rewrites covalent.conf for each executor that it makes, two a task."""
    names = type(executors).get_executor.__globals__
    update = names["update_config"]
    file = update.__globals__["_config_manager"].config_file
    seen: Any = None

    def state() -> Any:
        status = os.stat(file)
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    @functools.wraps(update)
    def update_if_changed(*entries: Any, **options: Any) -> None:
        nonlocal seen
        if entries or options or seen is None or state() != seen:
            update(*entries, **options)
            seen = state()

    names["update_config"] = update_if_changed


def asset_addresses(store: Any, utils: Any, site: Callable[[], str]) -> None:
    """Covalent has every client fetch files from the one address that it is configured with.

    Whoever calls it by another is sent there in vain: through a tunnel with another port, by the
    machine's second name, over a proxy's https. `site` is how the caller calls it, or empty.
    """
    get = store.LocalProvider.get_public_uri

    @functools.wraps(get)
    def get_at_site(provider: Any, *arguments: Any, **options: Any) -> str:
        address = str(get(provider, *arguments, **options))
        own = site()
        return own + address.removeprefix(store.SERVER_URL) if address and own else address

    store.LocalProvider.get_public_uri = get_at_site
    # It makes some of them in a thread that does not know for which request.
    utils.dm_pool = _WithContext(max_workers=1)


class _WithContext(ThreadPoolExecutor):
    """A pool whose threads have the context of whoever gave them the work."""

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> "Future[Any]":
        return super().submit(contextvars.copy_context().run, function, *arguments, **options)
