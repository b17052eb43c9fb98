"""Workflows of Covalent 0.220 and earlier, brought to the form of 0.240.

Its migrations fail over every row of theirs: they add columns that may not be empty, and
give them no value. So the rows are taken out, the empty tables migrated, and the rows put
back with what is new in them. And the files: an earlier Covalent pickled each one, where 0.240
has formats of its own, and a row in `assets` for each. The new files are written to the data
directory, the old ones stay as they are.
"""

import io
import json
import os
import pickle
import sqlite3
from base64 import b64decode
from pathlib import Path
from typing import Any

from covalent._workflow.transportable_object import TransportableObject
from covalent_dispatcher._object_store.local import (
    ELECTRON_ASSET_FILENAME_MAP,
    WORKFLOW_ASSET_FILENAME_MAP,
)

from covalent_service.logs import SERVICE

Row = dict[str, Any]
Rows = dict[str, list[Row]]  # by table

# A table comes after those that it refers to.
TABLES = ("lattices", "jobs", "electrons", "electron_dependency")

# What 0.240 calls a file, and the column with its name in both.
WORKFLOW_FILES = {
    "result": "results_filename",
    "error": "error_filename",
    "workflow_function": "function_filename",
    "workflow_function_string": "function_string_filename",
    "doc": "docstring_filename",
    "inputs": "inputs_filename",
    "hooks": "hooks_filename",
}
TASK_FILES = {
    "function": "function_filename",
    "function_string": "function_string_filename",
    "value": "value_filename",
    "output": "results_filename",
    "stdout": "stdout_filename",
    "stderr": "stderr_filename",
    "error": "error_filename",
    "hooks": "hooks_filename",
}
# These three files became one.
HOOKS = ("deps", "call_before", "call_after")


def take(database: sqlite3.Connection) -> Rows:
    """Empty the tables of an earlier Covalent; nothing of a later or a new one."""
    columns = _columns(database, "electrons")
    if not columns or "task_group_id" in columns:
        return {}
    rows: Rows = {}
    for table in TABLES:
        names = _columns(database, table)
        if names:
            found = database.execute(f"SELECT {', '.join(names)} FROM {table}")
            rows[table] = [dict(zip(names, values, strict=True)) for values in found]
            database.execute(f"DELETE FROM {table}")
    return rows


def put_back(database: sqlite3.Connection, rows: Rows, data_dir: Path) -> None:
    """Fill the migrated tables again, and write the files that their rows name."""
    _Return(database, rows, data_dir).run()


class _Return:
    def __init__(self, database: sqlite3.Connection, rows: Rows, data_dir: Path) -> None:
        self._database = database
        self._rows = rows
        self._data_dir = data_dir
        self._without: list[str] = []  # what is missing, in words

    def run(self) -> None:
        names = {row["id"]: _one_folder(row["dispatch_id"]) for row in self._rows["lattices"]}
        for row in self._rows["lattices"]:
            self._workflow(row, Path(row["dispatch_id"]))
        for row in self._rows.get("jobs", ()):
            self._insert("jobs", {**row, "status": "NEW_OBJECT"})
        for row in self._rows["electrons"]:
            folder = Path(names[row["parent_lattice_id"]], f"node_{row['transport_graph_node_id']}")
            self._task(row, folder)
        for row in self._rows["electron_dependency"]:
            self._insert("electron_dependency", row)
        os.sync()  # once for all files: the database that names them comes after them
        if self._without:
            SERVICE.warning(
                "%d file(s) of workflows of an earlier Covalent are lost to this one, such as %s",
                len(self._without),
                self._without[0],
            )

    def _workflow(self, row: Row, folder: Path) -> None:
        new = {
            **row,
            "executor_data": self._json(folder, row, "executor_data_filename"),
            "workflow_executor_data": self._json(folder, row, "workflow_executor_data_filename"),
            "root_dispatch_id": row["root_dispatch_id"] or row["dispatch_id"],
        }
        assets = self._convert(new, folder, WORKFLOW_FILES, WORKFLOW_ASSET_FILENAME_MAP)
        self._insert("lattices", new)
        self._link("lattice_assets", row["id"], assets)

    def _task(self, row: Row, folder: Path) -> None:
        new = {
            **row,
            "executor_data": self._json(folder, row, "executor_data_filename"),
            # What Covalent gives each task that is not packed together with others.
            "task_group_id": row["transport_graph_node_id"],
        }
        if "job_id" not in row:
            job = {"cancel_requested": 0, "status": "NEW_OBJECT", "job_handle": "null"}
            new["job_id"] = self._insert("jobs", job)
        assets = self._convert(new, folder, TASK_FILES, ELECTRON_ASSET_FILENAME_MAP)
        self._insert("electrons", new)
        self._link("electron_assets", row["id"], assets)

    def _old_file(self, row: Row, folder: Path, column: str) -> Path:
        """In the data directory, where who moves a server puts it, or where it was.

        Of each file, since an attempt that failed leaves new ones in a folder that was not there.
        """
        here = self._data_dir / folder / row[column]
        there = row["storage_path"] and Path(row["storage_path"], row[column])
        return there if there and not here.is_file() else here

    def _convert(
        self, row: Row, folder: Path, files: dict[str, str], names: dict[str, str]
    ) -> list[tuple[str, Path, int]]:
        """Write each file anew and name it in the row; return key, place and size of each."""
        place = self._data_dir / folder
        place.mkdir(parents=True, exist_ok=True)
        written = []
        for key, column in files.items():
            name = names[key]
            content = self._content(folder, row, column, name)
            old = row.get(column) and self._old_file(row, folder, column)
            if content and place / name != old:
                _write(place / name, content)
            row[column] = name
            written.append((key, folder / name, len(content)))
        row["storage_type"], row["storage_path"] = "file", str(place)
        return written

    def _content(self, folder: Path, row: Row, column: str, name: str) -> bytes:
        if column == "hooks_filename":
            hooks = {hook: self._read(folder, row, f"{hook}_filename") for hook in HOOKS}
            return _as_json({hook: value for hook, value in hooks.items() if value}).encode()
        if not name.endswith(".tobj"):
            return self._bytes(folder, row, column)
        value = self._read(folder, row, column)
        if value is None:
            return b""
        return _inputs(value) if column == "inputs_filename" else _transportable(value)

    def _json(self, folder: Path, row: Row, column: str) -> str:
        return _as_json(self._read(folder, row, column) or {})

    def _read(self, folder: Path, row: Row, column: str) -> Any:
        content = self._bytes(folder, row, column)
        try:
            return _Unpickler(io.BytesIO(content)).load() if content else None
        except Exception as error:  # a damaged pickle can fail in any way
            self._without.append(f"{self._old_file(row, folder, column)} ({error})")
            return None

    def _bytes(self, folder: Path, row: Row, column: str) -> bytes:
        if not row.get(column):
            return b""
        try:
            return self._old_file(row, folder, column).read_bytes()
        except OSError as error:
            self._without.append(f"{error.filename} ({error.strerror})")
            return b""

    def _insert(self, table: str, row: Row) -> int | None:
        names = [name for name in _columns(self._database, table) if name in row]
        values = [row[name] for name in names]
        marks = ", ".join("?" * len(names))
        cursor = self._database.execute(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values
        )
        return cursor.lastrowid

    def _link(self, table: str, owner: int, assets: list[tuple[str, Path, int]]) -> None:
        for key, place, size in assets:
            asset = {
                "storage_type": "file",
                "storage_path": str(self._data_dir),
                "object_key": str(place),
                "size": size,
            }
            link = {"meta_id": owner, "asset_id": self._insert("assets", asset), "key": key}
            self._insert(table, link)


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all: the next attempt takes what is there for an old file."""
    draft = file.with_name(f"{file.name}.new")
    draft.write_bytes(content)
    os.replace(draft, file)


class _Transportable:
    """A value of a task in the form of an earlier Covalent: itself a pickle, left closed."""


class _Unpickler(pickle.Unpickler):
    """Opens what an earlier Covalent wrote around the values, and runs no code from it."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "covalent" and name == "TransportableObject":
            return _Transportable
        raise pickle.UnpicklingError(f"a {module}.{name} is in it")


class _Closed:
    """Stands for a value, and is that value for who unpickles it."""

    def __init__(self, value: _Transportable) -> None:
        self._value = value

    def __reduce__(self) -> Any:
        return pickle.loads, (b64decode(vars(self._value)["_object"]),)

    def __repr__(self) -> str:
        return _shown(self._value)


def _transportable(value: _Transportable) -> bytes:
    fields = vars(value)
    attributes = {
        "_object": fields["_object"],
        "_object_string": _shown(value),
        # 0.202 has the two parts of the header side by side with the rest.
        "_header": fields.get("_header")
        or {"py_version": fields["python_version"], "attrs": fields["attrs"]},
    }
    return TransportableObject.from_dict({"attributes": attributes}).serialize()


def _inputs(inputs: dict[str, Any]) -> bytes:
    """One value with all arguments in it, where each was a value of its own."""
    closed = {
        "args": tuple(map(_Closed, inputs["args"])),
        "kwargs": {name: _Closed(value) for name, value in inputs["kwargs"].items()},
    }
    return TransportableObject(closed).serialize()


def _shown(value: _Transportable) -> str:
    fields = vars(value)
    return fields["_object_string"] if "_object_string" in fields else fields["object_string"]


def _as_json(value: Any) -> str:
    """Settings of executors and hooks; each value in them is text already."""
    return json.dumps(value, default=vars)


def _one_folder(name: str) -> str:
    """The name of a folder is below the data directory, whatever the database says."""
    if Path(name).name != name:
        raise ValueError(f"{name!r} is not the name of a workflow")
    return name


def _columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [column[1] for column in database.execute(f"PRAGMA table_info({table})")]
