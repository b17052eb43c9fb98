"""Workflows that ended because the server did: told in the journal and in `covalentctl status`."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from covalent_service.logs import LETTERS, SERVICE, printable

FILE = "interrupted.json"  # in the account's home, where `covalentctl status` looks
LINES = 20  # workflows that the journal names; the file has more of them
NEWS = timedelta(days=7)  # as long `covalentctl status` shows them
# Together less than the mebibyte that is read of the file (`src/cli/status/mod.rs`).
KEPT = 1000  # workflows


@dataclass(frozen=True)
class Workflow:
    """A workflow, named as Covalent's API names it."""

    dispatch_id: str
    lattice_name: str


def report(workflows: Sequence[Workflow], home: Path) -> None:
    """Say which ones were interrupted; one with unfinished tasks is CANCELLED by now."""
    if not workflows:
        return
    SERVICE.warning(
        "%d workflow(s) interrupted and now CANCELLED; "
        "ct.redispatch(ID, reuse_previous_results=True)() reuses what was finished:",
        len(workflows),
    )
    for workflow in workflows[:LINES]:
        SERVICE.warning(
            "interrupted: %s (%s)", workflow.dispatch_id, printable(workflow.lattice_name)
        )
    if len(workflows) > LINES:
        SERVICE.warning("interrupted: %d more; %s has them", len(workflows) - LINES, home / FILE)
    _keep(workflows, home / FILE)


def _keep(workflows: Sequence[Workflow], file: Path) -> None:
    """Put them before those of the last days; no report takes the place of an earlier one."""
    now = datetime.now(timezone.utc)
    when = now.isoformat(timespec="seconds")
    new = [_entry(workflow.dispatch_id, workflow.lattice_name, when) for workflow in workflows]
    content = {"when": when, "workflows": [*new, *_earlier(file, now)][:KEPT]}
    draft = file.with_name(f"{file.name}.new")
    try:
        draft.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(draft, file)
    except OSError as error:
        SERVICE.warning("%s cannot be written: %s", file, error.strerror)


def _earlier(file: Path, now: datetime) -> list[dict[str, str]]:
    """What the file has that is still news; a damaged one has nothing."""
    try:
        content = json.loads(file.read_text())
        entries = [
            _entry(old["dispatch_id"], old["lattice_name"], old.get("when", content["when"]))
            for old in content["workflows"]
        ]
        return [old for old in entries if now - datetime.fromisoformat(old["when"]) < NEWS]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _entry(dispatch_id: Any, name: Any, when: Any) -> dict[str, str]:
    return {"dispatch_id": str(dispatch_id), "lattice_name": str(name)[:LETTERS], "when": str(when)}
