"""Loaded by each Dask worker of a fleet as it starts, in place of `worker.py`."""

import os
from typing import Any

from covalent_service import adjustments, environment, joined, memory, packages, pages

joined.register()  # before the worker looks for its scheduler
pages.close()
memory.offer_this_process()


async def dask_setup(worker: Any) -> None:
    """Called by Dask in the worker process, before it registers."""
    worker.startup_information["environment"] = lambda _worker: environment.describe()
    packages.make_importable(packages.directories(os.environ))
    adjustments.process_errors()
