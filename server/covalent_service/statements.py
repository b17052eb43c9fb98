"""SQL statements, kept: Covalent builds each anew, and SQLAlchemy looks up whether it knows it."""

import functools
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Integer, bindparam, desc, select, update


def keep(record: Any) -> None:
    """Let `Record` and its kinds make a statement once for what they ask, whatever the values."""
    own_get = record.get.__func__

    @functools.wraps(own_get)
    def get(cls: Any, session: Any, **asked: Any) -> Any:
        if asked.get("stmt") is not None or not asked["fields"] or _asks_for_null(asked):
            return own_get(cls, session, **asked)
        statement = _selection(
            cls.model.__table__,
            tuple(dict.fromkeys(asked["fields"])),
            *_columns(asked),
            for_update=asked.get("for_update", False),
            order=tuple(asked.get("sort_fields", ())),
            reverse=asked.get("reverse", True),
            limited=bool(asked.get("max_items")),
        )
        page = {"offset": asked.get("offset", 0), "limit": asked.get("max_items")}
        session.flush()  # as SQLAlchemy does before a statement about classes
        return session.execute(statement, {**_values(asked), **page}).all()

    replacement: Any = get
    record.get = classmethod(replacement)
    record.update_bulk = classmethod(
        _with_kept_change(record.update_bulk.__func__, "values", _set_to)
    )
    record.incr_bulk = classmethod(_with_kept_change(record.incr_bulk.__func__, "increments", _add))


def _with_kept_change(own: Any, name: str, expression: Any) -> Any:
    @functools.wraps(own)
    def change(cls: Any, session: Any, **asked: Any) -> None:
        new = asked[name]
        if not new or _asks_for_null(asked):
            return own(cls, session, **asked)
        statement = _change(cls.model.__table__, expression, tuple(new), *_columns(asked))
        session.flush()
        session.execute(statement, {**_values(asked), **{f"new_{k}": v for k, v in new.items()}})

    return change


def _set_to(column: Any) -> Any:
    return bindparam(f"new_{column.name}", type_=column.type)


def _add(column: Any) -> Any:
    return column + _set_to(column)


@functools.cache
def _selection(
    table: Any,
    fields: tuple[str, ...],
    equal: tuple[str, ...],
    among: tuple[str, ...],
    for_update: bool,
    order: tuple[str, ...],
    reverse: bool,
    limited: bool,
) -> Any:
    statement = _filtered(select(*(table.c[name] for name in fields)), table, equal, among)
    if for_update:
        statement = statement.with_for_update()
    for name in order:
        statement = statement.order_by(desc(table.c[name]) if reverse else table.c[name])
    statement = statement.offset(bindparam("offset", type_=Integer))
    return statement.limit(bindparam("limit", type_=Integer)) if limited else statement


@functools.cache
def _change(
    table: Any,
    expression: Any,
    new: tuple[str, ...],
    equal: tuple[str, ...],
    among: tuple[str, ...],
) -> Any:
    statement = update(table).values({name: expression(table.c[name]) for name in new})
    return _filtered(statement, table, equal, among)


def _filtered(statement: Any, table: Any, equal: tuple[str, ...], among: tuple[str, ...]) -> Any:
    for name in equal:
        statement = statement.where(table.c[name] == bindparam(f"is_{name}"))
    for name in among:
        statement = statement.where(table.c[name].in_(bindparam(f"in_{name}", expanding=True)))
    return statement


def _asks_for_null(asked: Mapping[str, Any]) -> bool:
    """For which SQL has another operator."""
    return None in asked["equality_filters"].values()


def _columns(asked: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(asked["equality_filters"]), tuple(asked["membership_filters"])


def _values(asked: Mapping[str, Any]) -> dict[str, Any]:
    equal = {f"is_{name}": value for name, value in asked["equality_filters"].items()}
    among = {f"in_{name}": list(values) for name, values in asked["membership_filters"].items()}
    return {**equal, **among}
