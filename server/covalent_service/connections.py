"""Connections to an SQLite database, kept from one transaction to the next."""

import os
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

# Bytes of the journal that stay on the disk after a large transaction.
JOURNAL_LIMIT = 1024 * 1024


def keep(store: Any) -> None:
    """Covalent opens the file anew for every transaction, and makes and removes its journal.

    The journal stays, with its header cleared: the file's form is the same, and a commit is on the
    disk when it is done, whereas a journal that is removed may come back after a power cut.
    """
    if store.engine.url.get_backend_name() != "sqlite":
        return
    file = store.engine.url.database
    kept = create_engine(
        store.engine.url,
        echo=store.engine.echo,
        poolclass=QueuePool,
        max_overflow=-1,
        # One thread at a time has it, whichever opened it.
        connect_args={"check_same_thread": False},
    )

    def prepare(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA journal_mode = PERSIST")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT}")
        record.info["file"] = _identity(file)

    def look(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["file"] != _identity(file):
            raise DisconnectionError(f"{file} is another one now")  # SQLAlchemy opens it anew

    event.listen(kept, "connect", prepare)
    event.listen(kept, "checkout", look)
    store.engine = kept
    store.Session.configure(bind=kept)


def _identity(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino
