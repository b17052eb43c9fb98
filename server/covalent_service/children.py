"""The processes below the launcher: the Dask cluster, and the pool of the local executor."""

import ctypes
import os
import signal

import psutil

from covalent_service import packages

PR_SET_PDEATHSIG = 1  # prctl(2)
KILL_TIMEOUT = 1  # seconds; SIGKILL takes milliseconds unless the disk hangs


def adopt() -> None:
    """Prepare every process that this one forks from now on to run tasks, and to die with it."""
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl
    paths = packages.directories(os.environ)

    def in_child() -> None:
        if os.getppid() != parent:  # a child's child, whose parent may well end before it
            return
        # Otherwise a launcher that was killed would leave them behind, for ever.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        packages.make_importable(paths)

    os.register_at_fork(after_in_child=in_child)


def kill() -> None:
    """End the whole tree: Covalent's own end leaves the Dask cluster running."""
    processes = psutil.Process().children(recursive=True)
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=KILL_TIMEOUT)
