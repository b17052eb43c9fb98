"""What a Dask worker has to be to run tasks: one of the server's, and one of another machine's."""

import logging
import os

from covalent_service import adjustments, memory, packages, pages


def prepare() -> None:
    """As the process loads its preload."""
    pages.close()
    memory.offer_this_process()
    # That its connection is lost, whoever started it knows or says; of its memory, Dask does.
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)
    logging.getLogger("distributed.worker.memory").setLevel(logging.WARNING)


def set_up() -> None:
    """Before its first task."""
    packages.make_importable(packages.directories(os.environ))
    adjustments.process_errors()
