"""Workflows that ended because the server did: told in the journal and in `covalentctl status`."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from covalent_service.logs import SERVICE

FILE = "interrupted.json"  # in the account's home, where `covalentctl status` looks
LINES = 20  # workflows that the journal names; the file has all of them


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
        "ct.redispatch(ID, reuse_previous_results=True)() goes on with what was finished:",
        len(workflows),
    )
    for workflow in workflows[:LINES]:
        # The client gave the name; a line break in it would make a line of the journal.
        name = "".join(letter if letter.isprintable() else "?" for letter in workflow.lattice_name)
        SERVICE.warning("interrupted: %s (%s)", workflow.dispatch_id, name)
    if len(workflows) > LINES:
        SERVICE.warning("interrupted: %d more, listed in %s", len(workflows) - LINES, home / FILE)
    content = {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "workflows": [asdict(workflow) for workflow in workflows],
    }
    draft = home / f"{FILE}.new"
    try:
        draft.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(draft, home / FILE)
    except OSError as error:
        SERVICE.warning("%s cannot be written: %s", home / FILE, error.strerror)
