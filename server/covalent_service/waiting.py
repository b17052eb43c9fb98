"""First come, first served: a task waits at Dask's scheduler until a worker that fits is free."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dask.config

# What a task asks of its worker, in the form in which equal ones are equal.
Labels = tuple[tuple[str, float], ...]


def wait_at_the_scheduler(scheduler: Any) -> None:
    """Dask gives each of Covalent's tasks to a worker at once, where it waits behind what runs.

    There it misses every worker that is free earlier, and on one that is drained it waits for ever.
    Dask's own queue has neither tasks with labels, nor those of a small group.
    """
    dask.config.set({"distributed.scheduler.worker-saturation": 1.0})
    scheduler._TRANSITIONS_TABLE = {
        **scheduler._TRANSITIONS_TABLE,
        ("waiting", "processing"): _begin_or_wait,
        ("queued", "processing"): _begin,
    }
    scheduler.stimulus_queue_slots_maybe_opened = _begin_what_waits


def labels(task: Any) -> Labels:
    """What the task asks of its worker."""
    return tuple(sorted((task.resource_restrictions or {}).items()))


def fits(worker: Any, wanted: Labels) -> bool:
    """Whether the worker has what is wanted, busy or not."""
    return all(worker.resources.get(name, 0) >= amount for name, amount in wanted)


def in_words(wanted: Labels | Mapping[str, float]) -> str:
    """Such as `GPU=1`."""
    items = wanted.items() if isinstance(wanted, Mapping) else wanted
    return ", ".join(f"{name}={amount:g}" for name, amount in items)


def _free_worker(scheduler: Any, task: Any) -> Any:
    """The least busy worker that fits and has a thread for the task, or None."""
    valid = scheduler.valid_workers(task)  # None: whichever runs
    candidates: Iterable[Any] = (
        worker
        for worker in scheduler.idle_task_count
        if (valid is None or worker in valid) and _has_left(worker, task)
    )
    return min(
        candidates, key=lambda worker: len(worker.processing) / worker.nthreads, default=None
    )


def _has_left(worker: Any, task: Any) -> bool:
    """A worker with several threads may have one left, and no more of what the task needs."""
    return all(
        worker.resources[name] - worker.used_resources[name] >= amount
        for name, amount in labels(task)
    )


def _begin_or_wait(scheduler: Any, key: Any, stimulus_id: str) -> Any:
    task = scheduler.tasks[key]
    if worker := _free_worker(scheduler, task):
        return scheduler._add_to_processing(task, worker, stimulus_id=stimulus_id)
    return {key: "queued"}, {}, {}


def _begin(scheduler: Any, key: Any, stimulus_id: str) -> Any:
    task = scheduler.tasks[key]
    if not (worker := _free_worker(scheduler, task)):
        return {}, {}, {}
    scheduler.queued.discard(task)
    return scheduler._add_to_processing(task, worker, stimulus_id=stimulus_id)


def _begin_what_waits(scheduler: Any, *, stimulus_id: str) -> None:
    """In the order in which they came; of those that ask for the same, the first decides for all."""
    hopeless: set[Labels] = set()
    for task in _while_a_worker_is_free(scheduler):
        wanted = labels(task)
        if wanted in hopeless or task not in scheduler.queued:
            continue
        scheduler.transitions({task.key: "processing"}, stimulus_id)
        if task in scheduler.queued:
            hopeless.add(wanted)


def _while_a_worker_is_free(scheduler: Any) -> Iterator[Any]:
    """What waits: the first, which mostly takes the one free worker, and only then all of it, sorted."""
    if scheduler.queued and scheduler.idle_task_count:
        yield scheduler.queued.peek()
    for task in list(scheduler.queued.sorted()) if scheduler.idle_task_count else ():
        if not scheduler.idle_task_count:
            return
        yield task
