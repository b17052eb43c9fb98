"""Loaded by each Dask worker as it starts (Dask's `distributed.worker.preload`)."""

from typing import Any

from covalent_service import (
    at_work,
    parcel,  # noqa: F401 # registers how the server wants results packed, those of any task
    sockets,
    task_process,
)

sockets.register()  # before the worker looks for its scheduler
task_process.prepare()


async def dask_setup(worker: Any) -> None:
    """Called by Dask in the worker process, before its first task."""
    await worker.plugin_add(plugin=at_work.Note(), name="at work")
    task_process.set_up()
