"""What Covalent asks its database about one task, in one question.

Covalent reads the row of the workflow first, whole, then that of the task, then what it wants to
know, each in a transaction of its own. What is asked of several tasks, or of what is not in the
database's columns, still goes Covalent's way, and so does what is not found.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from covalent._shared_files.defaults import postprocess_prefix
from covalent._shared_files.util_classes import RESULT_STATUS, Status
from covalent_dispatcher._core.data_modules import asset_manager, electron, graph, job_manager
from covalent_dispatcher._dal.asset import FIELDS, Asset
from covalent_dispatcher._dal.db_interfaces.electron_utils import _meta_record_map, get_filters
from covalent_dispatcher._db import models
from covalent_dispatcher._db.datastore import workflow_db
from sqlalchemy import bindparam, select, update

WORKFLOWS, TASKS, EDGES, JOBS, ASSETS, LINKS = (
    model.__table__
    for model in (
        models.Lattice,
        models.Electron,
        models.ElectronDependency,
        models.Job,
        models.Asset,
        models.ElectronAsset,
    )
)
OF_WORKFLOW = (
    WORKFLOWS.c.dispatch_id == bindparam("workflow"),
    TASKS.c.parent_lattice_id == WORKFLOWS.c.id,
)
NUMBER = TASKS.c.transport_graph_node_id
OF_TASK = (*OF_WORKFLOW, NUMBER == bindparam("task"))
OTHERS = TASKS.alias()  # those before a task, or after it
SUBLATTICES = WORKFLOWS.alias()

INCOMING = (
    select(
        OTHERS.c.transport_graph_node_id,
        EDGES.c.edge_name,
        EDGES.c.parameter_type,
        EDGES.c.arg_index,
    )
    .where(*OF_TASK, EDGES.c.electron_id == TASKS.c.id, OTHERS.c.id == EDGES.c.parent_electron_id)
    .order_by(EDGES.c.id)
)
JOB = select(JOBS).where(*OF_TASK, JOBS.c.id == TASKS.c.job_id)
STORED = select(NUMBER, LINKS.c.key, ASSETS).where(
    *OF_WORKFLOW,
    NUMBER.in_(bindparam("tasks", expanding=True)),
    LINKS.c.meta_id == TASKS.c.id,
    LINKS.c.key.in_(bindparam("keys", expanding=True)),
    ASSETS.c.id == LINKS.c.asset_id,
)

# Of a task whose status is to change. On PostgreSQL nobody else changes it meanwhile.
STATE = (
    select(TASKS.c.id, TASKS.c.name, TASKS.c.type, TASKS.c.status, TASKS.c.parent_lattice_id)
    .where(*OF_TASK)
    .with_for_update(of=TASKS)
)
COLUMNS = {"status": "status", "start_time": "started_at", "end_time": "completed_at"}
ONE_MORE = (
    update(WORKFLOWS)
    .where(WORKFLOWS.c.id == bindparam("number"))
    .values(completed_electron_num=WORKFLOWS.c.completed_electron_num + 1)
)


def ask() -> None:
    """Put these questions in the place of Covalent's."""
    for module, function in (
        (electron, get_bulk_sync),
        (electron, update_sync),
        (graph, get_incoming_edges_sync),
        (graph, get_node_successors_sync),
        (job_manager, get_jobs_metadata),
        (job_manager, _set_job_metadata),
        (asset_manager, upload_asset_for_nodes_sync),
        (asset_manager, download_assets_for_node_sync),
    ):
        own = getattr(module, function.__name__)
        setattr(module, function.__name__, functools.wraps(own)(functools.partial(function, own)))


def _rows(statement: Any, workflow: str, **values: Any) -> list[Any]:
    with workflow_db.engine.connect() as connection:
        return connection.execute(statement, {"workflow": workflow, **values}).all()


def _column(key: str, tasks: Any = TASKS) -> Any:
    if key == "sub_dispatch_id":
        statement = select(SUBLATTICES.c.dispatch_id).where(SUBLATTICES.c.electron_id == tasks.c.id)
        return statement.scalar_subquery().label(key)
    return tasks.c[_meta_record_map[key]].label(key)


def _is_column(key: str) -> bool:
    return key in get_filters and (key in _meta_record_map or key == "sub_dispatch_id")


def _filtered(keys: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return {key: get_filters[key](value) for key, value in zip(keys, values)}


@functools.cache
def _facts(keys: tuple[str, ...]) -> Any:
    return select(*map(_column, keys)).where(*OF_TASK)


def get_bulk_sync(
    own: Any, dispatch_id: str, node_ids: list[int], keys: list[str]
) -> list[dict[str, Any]]:
    if len(node_ids) == 1 and all(map(_is_column, keys)):
        for row in _rows(_facts(tuple(keys)), dispatch_id, task=node_ids[0]):
            return [_filtered(keys, row)]
    return own(dispatch_id, node_ids, keys)


@functools.cache
def _task_change(keys: tuple[str, ...]) -> Any:
    columns = [TASKS.c[COLUMNS[key]] for key in keys]
    new = {column.name: bindparam(f"new_{column.name}", type_=column.type) for column in columns}
    return update(TASKS).where(TASKS.c.id == bindparam("number")).values(new)


def update_sync(own: Any, dispatch_id: str, node_result: dict[str, Any]) -> Any:
    """Whether the task may be so; it is then."""
    new = {key: value for key, value in node_result.items() if value is not None}
    task = new.pop("node_id")
    status = new.get("status")
    if status is None or not new.keys() <= COLUMNS.keys():
        return own(dispatch_id, node_result)
    ended = RESULT_STATUS.is_terminal(status)
    with workflow_db.engine.begin() as connection:
        values = {"workflow": dispatch_id, "task": task}
        found = connection.execute(STATE, values).first()
        # The end of a workflow's last task is that of the workflow, and a sublattice has its own state.
        if found and not (
            ended and (found.type == "sublattice" or found.name.startswith(postprocess_prefix))
        ):
            if found.status == status or RESULT_STATUS.is_terminal(Status(found.status)):
                return False
            columns = {f"new_{COLUMNS[key]}": value for key, value in new.items()}
            columns["new_status"] = str(status)
            connection.execute(_task_change(tuple(new)), {"number": found.id, **columns})
            if status == RESULT_STATUS.COMPLETED:
                connection.execute(ONE_MORE, {"number": found.parent_lattice_id})
            return True
    return own(dispatch_id, node_result)


def get_incoming_edges_sync(_own: Any, dispatch_id: str, node_id: int) -> list[dict[str, Any]]:
    return [
        {
            "source": before,
            "target": node_id,
            "attrs": {"edge_name": name, "param_type": kind, "arg_index": index},
        }
        for before, name, kind, index in _rows(INCOMING, dispatch_id, task=node_id)
    ]


@functools.cache
def _successors(keys: tuple[str, ...]) -> Any:
    return (
        select(OTHERS.c.transport_graph_node_id, *(_column(key, OTHERS) for key in keys))
        .where(
            *OF_TASK, EDGES.c.parent_electron_id == TASKS.c.id, OTHERS.c.id == EDGES.c.electron_id
        )
        .order_by(EDGES.c.id)
    )


def get_node_successors_sync(
    own: Any, dispatch_id: str, node_id: int, attrs: list[str]
) -> list[dict[str, Any]]:
    if not all(map(_is_column, attrs)):
        return own(dispatch_id, node_id, attrs)
    rows = _rows(_successors(tuple(attrs)), dispatch_id, task=node_id)
    return [{"node_id": after, **_filtered(attrs, values)} for after, *values in rows]


async def get_jobs_metadata(
    own: Any, dispatch_id: str, task_ids: list[int]
) -> list[dict[str, Any]]:
    if len(task_ids) == 1:
        for job in _rows(JOB, dispatch_id, task=task_ids[0]):
            return [
                {
                    "job_id": job.id,
                    "cancel_requested": job.cancel_requested,
                    "status": job.status,
                    "job_handle": job.job_handle,
                }
            ]
    return await own(dispatch_id, task_ids)


@functools.cache
def _job_change(columns: tuple[str, ...]) -> Any:
    new = {name: bindparam(f"new_{name}", type_=JOBS.c[name].type) for name in columns}
    job = select(TASKS.c.job_id).where(*OF_TASK).scalar_subquery()
    return update(JOBS).where(JOBS.c.id == job).values(new)


async def _set_job_metadata(own: Any, dispatch_id: str, task_id: int, **new: Any) -> None:
    columns = {"job_status": "status"}
    values = {columns.get(name, name): value for name, value in new.items() if value is not None}
    changed = 0
    if values:
        with workflow_db.engine.begin() as connection:
            changed = connection.execute(
                _job_change(tuple(values)),
                {
                    "workflow": dispatch_id,
                    "task": task_id,
                    **{f"new_{name}": value for name, value in values.items()},
                },
            ).rowcount
    if not changed:
        await own(dispatch_id, task_id, **new)


def _assets(
    dispatch_id: str, tasks: Sequence[int], keys: Sequence[str]
) -> dict[tuple[int, str], Asset]:
    rows = _rows(STORED, dispatch_id, tasks=list(tasks), keys=list(keys))
    return {(row[0], row.key): Asset(None, row, keys=FIELDS) for row in rows}


def upload_asset_for_nodes_sync(
    _own: Any, dispatch_id: str, key: str, dest_uris: Mapping[int, str]
) -> None:
    places = {task: uri for task, uri in dest_uris.items() if uri}
    assets = _assets(dispatch_id, list(places), [key]) if places else {}
    for task, uri in places.items():
        assets[task, key].upload(uri)


def download_assets_for_node_sync(
    _own: Any, dispatch_id: str, node_id: int, asset_updates: Mapping[str, Any]
) -> None:
    assets = _assets(dispatch_id, [node_id], list(asset_updates))
    with workflow_db.session() as session:
        for key, news in asset_updates.items():
            if values := {name: value for name, value in news if value is not None}:
                assets[node_id, key].update(session, values=values)
    for key, news in asset_updates.items():
        if news.remote_uri:
            assets[node_id, key].download(news.remote_uri)
