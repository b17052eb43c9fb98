"""Letting what runs come to its end: while a file is there, no workflow is started."""

import functools
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException  # Covalent answers 400 for every FastAPI one

FILE = "draining"  # in the unit's RuntimeDirectory=


def refuse_new_workflows(app: Any, run_directory: Path) -> None:
    """Answer 503 where Covalent starts a client's workflow, or a trigger's, during a drain.

    `covalentctl drain` makes the file. The sublattices of workflows that run are started elsewhere, and go on.
    """
    start = app.start
    mark = run_directory / FILE
    # A drain ends with the server that it was for. systemd removes the folder; a container keeps it.
    mark.unlink(missing_ok=True)

    @functools.wraps(start)
    async def start_unless_draining(dispatch_id: str) -> str:
        if mark.exists():
            raise HTTPException(
                503, "The server takes no new workflows before its restart: try again after it."
            )
        return await start(dispatch_id)

    app.start = start_unless_draining
