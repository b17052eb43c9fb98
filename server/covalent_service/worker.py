"""Loaded by each Dask worker as it starts (Dask's `distributed.worker.preload`)."""

import os
from typing import Any

from covalent_service import adjustments, at_work, memory, packages, pages, sockets

sockets.register()  # before the worker looks for its scheduler
pages.close()
memory.offer_this_process()


async def dask_setup(worker: Any) -> None:
    """Called by Dask in the worker process, before its first task."""
    await worker.plugin_add(plugin=at_work.Note(), name="at work")
    packages.make_importable(packages.directories(os.environ))
    adjustments.process_errors()
