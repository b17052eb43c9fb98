"""Letting what runs come to its end: while a file is there, no workflow is started."""

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException  # Covalent answers 400 for every FastAPI one

# systemd's RuntimeDirectory=; it removes the file with the directory when the server stops.
RUNTIME_DIRECTORY = "/run/covalent"
FILE = "draining"


def file(environ: Mapping[str, str]) -> Path:
    """The file that `covalentctl drain` makes."""
    return Path(environ.get("RUNTIME_DIRECTORY", RUNTIME_DIRECTORY)) / FILE


def refuse_new_workflows(app: Any) -> None:
    """Answer 503 where Covalent starts a workflow: one of a client's, or of a trigger's.

    The sublattices of workflows that run are started elsewhere, and go on.
    """
    start = app.start
    mark = file(os.environ)

    @functools.wraps(start)
    async def start_unless_draining(dispatch_id: str) -> str:
        if mark.exists():
            raise HTTPException(
                503, "The server takes no new workflows before its restart: try again after it."
            )
        return await start(dispatch_id)

    app.start = start_unless_draining
