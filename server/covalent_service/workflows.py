"""The workflows in Covalent's database: which are under way, and what becomes of them."""

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import sqlalchemy

from covalent_service.interrupted import Workflow

if TYPE_CHECKING:
    from covalent_dispatcher._db.datastore import DataStore

# The states that nothing but a running server ever leads out of.
UNFINISHED_WORKFLOW = ("STARTING", "RUNNING")
UNFINISHED_TASK = (
    "STARTING",
    "DISPATCHING",
    "RUNNING",
    "PENDING_POSTPROCESSING",
    "POSTPROCESSING",
)


def unfinished(store: "DataStore") -> list[Workflow]:
    """The workflows that run, without those that are tasks of others."""
    from covalent_dispatcher._db.models import Lattice

    with store.session() as session:
        rows = session.query(Lattice.dispatch_id, Lattice.name).filter(
            Lattice.status.in_(UNFINISHED_WORKFLOW), Lattice.root_dispatch_id == Lattice.dispatch_id
        )
        return [Workflow(*row) for row in rows]


def name_of(store: "DataStore", dispatch_id: str) -> str | None:
    """The name of a workflow, which its client gave; None if there is no such workflow."""
    from covalent_dispatcher._db.models import Lattice

    with store.session() as session:
        row = session.query(Lattice.name).filter(Lattice.dispatch_id == dispatch_id).first()
    return str(row.name or "") if row else None


def cancelled(store: "DataStore", workflows: Iterable[Workflow]) -> list[Workflow]:
    """Those that are CANCELLED by now."""
    from covalent_dispatcher._db.models import Lattice

    with store.session() as session:
        status = {
            workflow: session.query(Lattice.status)
            .filter(Lattice.dispatch_id == workflow.dispatch_id)
            .scalar()
            for workflow in workflows
        }
    return [workflow for workflow, value in status.items() if value == "CANCELLED"]


def cancel_unfinished(store: "DataStore") -> None:
    """Mark what no server runs any more as CANCELLED.

    Covalent leaves it RUNNING for ever, and such a workflow cannot even be cancelled.
    As CANCELLED it can be redispatched with the results of the tasks that were finished.
    """
    from covalent_dispatcher._db.models import Electron, Lattice

    is_unfinished = Lattice.status.in_(UNFINISHED_WORKFLOW)
    change = {"status": "CANCELLED", "completed_at": datetime.now(timezone.utc)}
    with store.session() as session:
        workflows = sqlalchemy.select(Lattice.id).where(is_unfinished)
        session.query(Electron).filter(
            Electron.status.in_(UNFINISHED_TASK), Electron.parent_lattice_id.in_(workflows)
        ).update(change, synchronize_session=False)
        session.query(Lattice).filter(is_unfinished).update(change, synchronize_session=False)
