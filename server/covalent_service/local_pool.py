"""The processes in which the local executor runs tasks."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from queue import LifoQueue
from typing import ParamSpec, TypeVar

from covalent_service import memory

P = ParamSpec("P")
T = TypeVar("T")


class LocalPool(Executor):
    """A pool of pools with one process each: one that is killed takes its own task along, no other.

    A `ProcessPoolExecutor` that loses a process ends all its tasks, and takes none any more.
    """

    def __init__(self, size: int | None = None) -> None:
        size = size or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(size, "local executor")
        self._idle: LifoQueue[ProcessPoolExecutor] = LifoQueue()  # the last one has its process
        for _ in range(size):
            self._idle.put(_single())

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it in a process, as soon as one is idle."""
        return self._threads.submit(self._run, fn, *args, **kwargs)

    def _run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        pool = self._idle.get()
        try:
            return pool.submit(fn, *args, **kwargs).result()
        except BrokenProcessPool:
            pool.shutdown(wait=False)
            pool = _single()
            raise
        finally:
            self._idle.put(pool)


def _single() -> ProcessPoolExecutor:
    """One that starts its process with its first task."""
    fork = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(1, fork, initializer=memory.offer_this_process)
