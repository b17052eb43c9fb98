"""The manifest of a workflow, which a client asks for with each result.

Covalent opens eight transactions for each task: for seven facts that it has read already, and to
see whether the task is a workflow itself.
"""

import functools
from typing import Any

from covalent_dispatcher._dal.base import DispatchedObject
from covalent_dispatcher._dal.exporters import tg as graphs
from covalent_dispatcher._db import models
from covalent_dispatcher._db.datastore import workflow_db
from sqlalchemy import bindparam, select

TASKS, WORKFLOWS = models.Electron.__table__, models.Lattice.__table__
SUBLATTICES = select(TASKS.c.id, WORKFLOWS.c.dispatch_id).where(
    TASKS.c.parent_lattice_id == bindparam("workflow"), WORKFLOWS.c.electron_id == TASKS.c.id
)
COMPUTED = "sub_dispatch_id"


def read_once() -> None:
    """Let what is read be read once, and all sublattices together."""
    DispatchedObject.get_value = _as_read(DispatchedObject.get_value)
    graphs._export_nodes = _with_sublattices(graphs._export_nodes)


def _as_read(own: Any) -> Any:
    @functools.wraps(own)
    def get_value(one: Any, key: str, session: Any = None, refresh: bool = True) -> Any:
        if session is None and not refresh:
            if key in vars(one):
                return vars(one)[key]
            if key in one.metadata_keys and key not in one.computed_fields:
                return one.get_metadata(key, None, refresh=False)
        return own(one, key, session, refresh)

    return get_value


def _with_sublattices(own: Any) -> Any:
    @functools.wraps(own)
    def export_nodes(graph: Any) -> Any:
        with workflow_db.engine.connect() as connection:
            rows = connection.execute(SUBLATTICES, {"workflow": graph.lattice_id}).all()
        sublattices = dict(tuple(row) for row in rows)
        for task in graph.get_nodes(list(graph.get_internal_graph_copy())):
            vars(task)[COMPUTED] = sublattices.get(task._electron_id)
        return own(graph)

    return export_nodes
