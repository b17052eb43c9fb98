"""What Covalent 0.240 does that a service cannot live with: one function each.

Covalent's own files are never edited. `tests/server_env` has a test for each function that
fails as soon as Covalent no longer does what the function is for, so that it can go.
"""

import functools
import tarfile
import threading
from pathlib import Path
from typing import Any

import dask.config

from covalent_service.tar import with_tar_filter

TERMINAL_EVENTS = ("start_terminal", "pty-input", "resize", "disconnect")


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


def interface_path(app: Any) -> None:
    """Covalent finds its UI relative to the working directory, which is the tasks' own."""
    build = Path(app.__file__).parent / app.WEBAPP_PATH
    app.templates = type(app.templates)(directory=build)
    app.socketio_app.static_files = {"": str(build), "/": str(build / "index.html")}


def dashboard_address(app_dask: Any, address: str) -> None:
    """Covalent leaves Dask's dashboard where Dask puts it: on every interface, to everyone."""
    app_dask.LocalCluster = functools.partial(app_dask.LocalCluster, dashboard_address=address)


def worker_preload(module: str) -> None:
    """Covalent starts Dask's workers afresh: nothing that is adjusted here reaches them."""
    preload = dask.config.get("distributed.worker.preload", default=[])
    preload = [preload] if isinstance(preload, str) else list(preload)
    dask.config.set({"distributed.worker.preload": [*preload, module]})


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
