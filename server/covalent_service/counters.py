"""How many tasks of a running workflow are left, and wait for others, in memory.

Covalent counts in a database of its own, which no server reads that did not write it.
"""

from collections.abc import Sequence


class Unresolved:
    """In place of Covalent's `_WorkflowRunState`: tasks that were submitted and have not ended."""

    def __init__(self) -> None:
        self._tasks: dict[str, int] = {}

    async def get_unresolved(self, dispatch_id: str) -> int:
        return self._tasks[dispatch_id]

    async def set_unresolved(self, dispatch_id: str, number: int) -> None:
        self._tasks[dispatch_id] = number

    async def increment(self, dispatch_id: str, interval: int = 1) -> int:
        self._tasks[dispatch_id] += interval
        return self._tasks[dispatch_id]

    async def decrement(self, dispatch_id: str) -> int:
        return await self.increment(dispatch_id, -1)

    async def remove(self, dispatch_id: str) -> None:
        self._tasks.pop(dispatch_id, None)


class Pending:
    """In place of Covalent's `TaskGroupRunState`: the tasks of a group, and how many it waits for."""

    def __init__(self) -> None:
        self._parents: dict[tuple[str, int], int] = {}
        self._tasks: dict[tuple[str, int], list[int]] = {}

    async def get_pending(self, dispatch_id: str, group: int) -> int:
        return self._parents[dispatch_id, group]

    async def set(self, dispatch_id: str, group: int, number: int, tasks: Sequence[int]) -> None:
        self._parents[dispatch_id, group] = number
        self._tasks[dispatch_id, group] = list(tasks)

    async def decrement(self, dispatch_id: str, group: int) -> int:
        self._parents[dispatch_id, group] -= 1
        return self._parents[dispatch_id, group]

    async def get_task_group(self, dispatch_id: str, group: int) -> list[int]:
        return list(self._tasks[dispatch_id, group])

    async def remove(self, dispatch_id: str, group: int) -> None:
        self._parents.pop((dispatch_id, group), None)
        self._tasks.pop((dispatch_id, group), None)
