"""Where a migrated database says that the workflows' files are."""

from pathlib import Path
from typing import Any

import sqlalchemy


def put_right(address: str, data_dir: Path) -> None:
    """Note where files are as Covalent 0.240 does, which answers 500 for them otherwise.

    Earlier ones noted <data>/<workflow>/node_0 and <file>, it notes <data> and
    <workflow>/node_0/<file>; its migrations leave that as it is. And who moves a server moves
    the files to the data directory of the new one, where the rows do not look for them.
    """
    engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.pool.NullPool)
    with engine.begin() as database:
        _rows(database, data_dir)


def _rows(database: sqlalchemy.engine.Connection, data_dir: Path) -> None:
    def rows(question: str) -> list[Any]:
        return database.execute(sqlalchemy.text(question)).all()

    workflows = {name for (name,) in rows("SELECT dispatch_id FROM lattices")}
    moved = {name for name in workflows if (data_dir / name).is_dir()}

    def split(path: str) -> tuple[str, str] | None:
        folders = path.split("/")
        start = next((i for i, folder in enumerate(folders) if folder in workflows), None)
        if start is None:
            return None
        above = str(data_dir) if folders[start] in moved else "/".join(folders[:start])
        return above, "/".join(folders[start:])

    assets = sqlalchemy.text(
        "UPDATE assets SET storage_path = :above, object_key = :below || '/' || object_key "
        "WHERE id = :id"
    )
    for number, path in rows("SELECT id, storage_path FROM assets"):
        if place := split(path):
            database.execute(assets, {"above": place[0], "below": place[1], "id": number})
    for table in ("lattices", "electrons"):
        owners = sqlalchemy.text(f"UPDATE {table} SET storage_path = :path WHERE id = :id")
        for number, path in rows(f"SELECT id, storage_path FROM {table}"):
            if path and (place := split(path)):
                database.execute(owners, {"path": "/".join(place), "id": number})
