"""Covalent's database, brought to the form of this Covalent before the server opens it."""

import os
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy

from covalent_service import database, secrets, stored_paths
from covalent_service.logs import SERVICE
from covalent_service.postgresql import PostgreSQL, ProgramMissing
from covalent_service.refusal import MIGRATION_FAILED, NEEDS_ATTENTION, Refusal
from covalent_service.settings import Settings
from covalent_service.unproven import Unproven

if TYPE_CHECKING:
    from covalent_dispatcher._db.datastore import DataStore

# Covalent's own command, for a database that the service cannot bring back if a migration fails.
# `covalentctl run` keeps the address from commands, since it may hold a password; in an argument,
# everybody could read it.
MIGRATE = (
    f"sudo covalentctl run -- sh -c 'read -r {secrets.DATABASE}; export {secrets.DATABASE}; "
    "covalent db migrate'"
)


def prepare(store: "DataStore", settings: Settings, unproven: Unproven) -> None:
    """Bring the schema, and what it says of files, to the form of this Covalent.

    The mark is set if they were of another one.
    """
    try:
        revision, head = store.current_revision(), store.current_head()
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise Refusal(
            f"cannot open the database {database.name(store)}: {database.reason(error)}"
        ) from None
    kind = store.engine.url.get_backend_name()
    upgrade: Callable[..., None]
    if revision == head:
        if kind == "postgresql" and unproven.is_set():
            _complete(store, settings)
        return
    if kind == "sqlite":
        upgrade, instead = _upgrade_file, "move it away to start with a new one"
    elif revision is None:
        database.create_schema(store)
        return
    elif kind == "postgresql":
        upgrade, instead = _upgrade_server, "let COVALENT_DATABASE_URL name an empty one"
    else:
        raise Refusal(
            f"the database {database.name(store)} is of an older Covalent (revision {revision}, {head} "
            "is needed), and the service migrates SQLite and PostgreSQL only. Back it up, then "
            f"type: {MIGRATE} and, as its input, the address in {secrets.DATABASE}; then: "
            "sudo systemctl start covalent",
            NEEDS_ATTENTION,
        )
    try:
        upgrade(store, settings, revision, unproven)
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(
            f"the database {database.name(store)} (revision {revision or 'none'}) cannot be migrated to "
            f"revision {head}: {database.reason(error)}. It is unchanged: {instead}, or return to the "
            "Covalent that wrote it",
            MIGRATION_FAILED,
        ) from None
    finally:
        store.engine.dispose()


def _upgrade_file(
    store: "DataStore", settings: Settings, revision: str | None, unproven: Unproven
) -> None:
    """Run the migrations on a copy and put it in place if they succeed.

    SQLite cannot take a failed migration back. This way neither a failure nor a power cut
    leaves anything but the old database or the new one. The old one stays beside it.
    """
    from covalent_service import earlier_workflows  # imports Covalent

    file = Path(store.engine.url.database)
    draft = file.with_name(file.name + ".upgrading")
    address = f"sqlite+pysqlite:///{draft}"
    if revision is not None:
        unproven.set()
    try:
        _remove(draft)
        with closing(sqlite3.connect(file)) as old, closing(sqlite3.connect(draft)) as new:
            old.backup(new)
        draft.chmod(file.stat().st_mode & 0o777)
        with closing(sqlite3.connect(draft)) as new, new:
            earlier = earlier_workflows.take(new)
        with warnings.catch_warnings():
            # Covalent's own command does the same: its migrations warn about nothing but SQLite.
            warnings.simplefilter("ignore", category=sqlalchemy.exc.SAWarning)
            _migrate(store, address)
        stored_paths.put_right(address, settings.data_dir)
        with closing(sqlite3.connect(draft)) as new, new:
            if earlier:
                earlier_workflows.put_back(new, earlier, settings.data_dir)
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        if revision is not None:
            backup = file.with_name(f"{file.name}.{revision}")
            _remove(backup)
            os.link(file, backup)
            SERVICE.info("database upgraded; %s is as it was before", backup)
        os.replace(draft, file)
    finally:
        _remove(draft)


def _upgrade_server(
    store: "DataStore", settings: Settings, revision: str, unproven: Unproven
) -> None:
    """Copy the database to a file, run the migrations, bring the copy back if they fail.

    The copy stays: `covalentctl rollback` takes it (`src/rollback/database.rs`).
    """
    address = store.engine.url.render_as_string(hide_password=False)
    copy = settings.home / f"database.{revision}.pgdump"
    # Of this revision, the database is as it was, whatever an attempt before has left.
    unproven.clear()
    try:
        server = PostgreSQL(address)
        _copy_server(server, copy)
    except (OSError, ValueError) as error:
        raise Refusal(
            f"the database {database.name(store)} (revision {revision}) is not migrated and is unchanged: "
            f"it cannot be copied to {copy} first ({database.reason(error)}). {_cure(error)}",
            MIGRATION_FAILED,
        ) from None
    unproven.set()
    store.engine.dispose()
    try:
        _migrate(store, address)
        stored_paths.put_right(address, settings.data_dir)
    except Exception as error:
        try:
            server.load(str(copy))
        except OSError as failure:
            raise Refusal(
                f"the migration of {database.name(store)} failed ({database.reason(error)}), and it cannot be "
                f"restored from {copy}: {database.reason(failure)}",
                MIGRATION_FAILED,
            ) from None
        raise
    SERVICE.info("database upgraded; %s has it as it was before", copy)


def _copy_server(server: PostgreSQL, copy: Path) -> None:
    draft = copy.with_name(copy.name + ".new")
    try:
        draft.touch(0o600)
        server.save(str(draft))
        os.replace(draft, copy)
    finally:
        _remove(draft)


def _cure(error: Exception) -> str:
    if isinstance(error, ProgramMissing):
        return "Type: apt install postgresql-client, or dnf install postgresql"
    return "For what pg_dump said, type: covalentctl logs -n 50"


def _complete(store: "DataStore", settings: Settings) -> None:
    """Do what is left of a migration that was ended after its first transaction."""
    try:
        stored_paths.put_right(
            store.engine.url.render_as_string(hide_password=False), settings.data_dir
        )
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise Refusal(
            f"the migration of {database.name(store)} was cut off, and cannot be completed: "
            f"{database.reason(error)}",
            MIGRATION_FAILED,
        ) from None


def _migrate(store: "DataStore", address: str) -> None:
    with secrets.shown(address):
        type(store).factory().run_migrations(logging_enabled=False)


def _remove(file: Path) -> None:
    for leftover in (file, file.with_name(file.name + "-journal")):
        leftover.unlink(missing_ok=True)
