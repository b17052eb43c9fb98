"""Loaded by each Dask worker of a fleet as it starts, in place of `worker.py`."""

from typing import Any

from covalent_service import environment, joined, task_process

joined.register()  # before the worker looks for its scheduler
task_process.prepare()


async def dask_setup(worker: Any) -> None:
    """Called by Dask in the worker process, before it registers."""
    worker.startup_information["environment"] = lambda _worker: environment.describe()
    task_process.set_up()
