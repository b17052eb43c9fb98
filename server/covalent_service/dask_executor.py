"""What Covalent's Dask executor does with the server's own cluster, as it has to be for a fleet.

One function for each of Covalent's defects, like those in `adjustments.py`. A cluster whose address
a client names in its executor is left alone: it does not have the server's modules.
"""

import contextvars
import functools
from typing import Any

from covalent_service import carry, sockets

# What the executor of the task that is being sent asks of its worker.
_asked: contextvars.ContextVar[dict[str, float]] = contextvars.ContextVar("asked")


def files_travel(executor: Any) -> None:
    """Covalent tells Dask's workers where a task's files are on the server, and looks there for theirs."""
    plugin = executor.send.__globals__  # found nowhere else: Covalent loads it from its file
    connect = plugin["Client"]
    upstream = plugin["run_task_group_alt"]

    def client(address: str, asynchronous: bool) -> Any:
        if not _is_own(address):
            return connect(address=address, asynchronous=asynchronous)
        made = connect(address=address, asynchronous=asynchronous)
        made.submit = functools.partial(_submit, made.submit, upstream)
        return made

    plugin["Client"] = client


def _submit(submit: Any, upstream: Any, function: Any, *arguments: Any, **options: Any) -> Any:
    options["resources"] = _asked.get({}) or None
    if function is not upstream:
        return submit(function, *arguments, **options)
    return submit(carry.run, carry.Job(*arguments), **options)


def labels(executor: Any) -> None:
    """Covalent's executor has no way to say what a task needs: `executor.resources = {"GPU": 1}`."""
    executor.send = _asking(executor.send)
    executor.run = _asking(executor.run)


def _asking(send: Any) -> Any:
    @functools.wraps(send)
    async def send_asking(self: Any, *arguments: Any, **options: Any) -> Any:
        token = _asked.set(_resources(self))
        try:
            return await send(self, *arguments, **options)
        finally:
            _asked.reset(token)

    return send_asking


def _resources(executor: Any) -> dict[str, float]:
    wanted = getattr(executor, "resources", None) or {}
    if isinstance(wanted, dict) and all(
        isinstance(name, str) and type(amount) in (int, float) and amount > 0
        for name, amount in wanted.items()
    ):
        return wanted
    raise ValueError(
        f"the executor's resources are {wanted!r}: "
        'give each that the task needs a number, such as {"GPU": 1}'
    )


def cancel_ends_task(executor: Any) -> None:
    """Covalent has Dask forget a task that is cancelled; its function runs on, unseen, to its end."""
    plugin = executor.cancel.__globals__
    cancel = executor.cancel

    @functools.wraps(cancel)
    async def cancel_and_end(self: Any, task_metadata: Any, job_handle: Any) -> Any:
        address = self.scheduler_address or plugin["get_config"]("dask.scheduler_address")
        if _is_own(address):
            client = await plugin["Client"](address=address, asynchronous=True)
            # By the way that what cancels it takes, before that.
            client._send_to_scheduler({"op": "end-task", "key": job_handle})
        return await cancel(self, task_metadata, job_handle)

    executor.cancel = cancel_and_end


def _is_own(address: str) -> bool:
    return address.startswith(f"{sockets.SCHEME}://")
