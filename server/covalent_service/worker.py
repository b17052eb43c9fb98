"""Loaded by each Dask worker as it starts (Dask's `distributed.worker.preload`)."""

import os
from typing import Any

from covalent_service import adjustments, packages, sockets

sockets.register()  # before the worker looks for its scheduler


def dask_setup(_worker: Any) -> None:
    """Called by Dask in the worker process, before its first task."""
    packages.make_importable(packages.directories(os.environ))
    adjustments.process_errors()
