"""Covalent's database: made or upgraded before the server opens it, and put in order."""

import os
import sqlite3
import warnings
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy.engine import make_url

from covalent_service import secrets, stored_paths
from covalent_service.account import account_name
from covalent_service.interrupted import Workflow
from covalent_service.logs import SERVICE
from covalent_service.postgresql import PostgreSQL, ProgramMissing
from covalent_service.refusal import MIGRATION_FAILED, NEEDS_ATTENTION, Refusal
from covalent_service.settings import Settings
from covalent_service.unproven import Unproven

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


# Covalent's own command, for a database that the service cannot bring back if a migration fails.
# `covalentctl run` keeps the address from commands, since it may hold a password; in an argument,
# everybody could read it.
MIGRATE = (
    f"sudo covalentctl run -- sh -c 'read -r {secrets.DATABASE}; export {secrets.DATABASE}; "
    "covalent db migrate'"
)


def check_url(url: str) -> None:
    """Refuse an address that Covalent would fail to import with. It may hold a password."""
    if not url:
        return
    try:
        sqlalchemy.create_engine(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise Refusal(
            f"{secrets.DATABASE} is not a database address that SQLAlchemy knows, "
            "such as postgresql+psycopg2://user:password@host/name",
            NEEDS_ATTENTION,
        ) from None
    except ImportError as error:
        raise Refusal(
            f"{secrets.DATABASE} needs a driver that is not in the environment ({error}): "
            "for PostgreSQL type: sudo covalentctl add psycopg2-binary "
            "&& sudo systemctl start covalent",
            NEEDS_ATTENTION,
        ) from None


def prepare(store: "DataStore", settings: Settings, unproven: Unproven) -> None:
    """Bring the schema, and what it says of files, to the form of this Covalent.

    The mark is set if they were of another one.
    """
    try:
        revision, head = store.current_revision(), store.current_head()
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise Refusal(f"cannot open the database {_name(store)}: {_reason(error)}") from None
    kind = store.engine.url.get_backend_name()
    upgrade: Callable[..., None]
    if revision == head:
        if kind == "postgresql" and unproven.is_set():
            _complete(store, settings)
        return
    if kind == "sqlite":
        upgrade, instead = _upgrade_file, "move it away to start with a new one"
    elif revision is None:
        _create_schema(store)
        return
    elif kind == "postgresql":
        upgrade, instead = _upgrade_server, "let COVALENT_DATABASE_URL name an empty one"
    else:
        raise Refusal(
            f"the database {_name(store)} is of an older Covalent (revision {revision}, {head} "
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
            f"the database {_name(store)} (revision {revision or 'none'}) cannot be migrated to "
            f"revision {head}: {_reason(error)}. It is unchanged: {instead}, or return to the "
            "Covalent that wrote it",
            MIGRATION_FAILED,
        ) from None
    finally:
        store.engine.dispose()


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
            f"the database {_name(store)} (revision {revision}) is not migrated and is unchanged: "
            f"it cannot be copied to {copy} first ({_reason(error)}). {_cure(error)}",
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
        except OSError as reason:
            raise Refusal(
                f"the migration of {_name(store)} failed ({_reason(error)}), and it cannot be "
                f"restored from {copy}: {_reason(reason)}",
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
            f"the migration of {_name(store)} was cut off, and cannot be completed: "
            f"{_reason(error)}",
            MIGRATION_FAILED,
        ) from None


def _migrate(store: "DataStore", address: str) -> None:
    with secrets.shown(address):
        type(store).factory().run_migrations(logging_enabled=False)


def _create_schema(store: "DataStore") -> None:
    """Make all tables at once: Covalent's migrations fail on a new PostgreSQL database."""
    from alembic import command
    from covalent_dispatcher._db import models

    try:
        models.Base.metadata.create_all(store.engine)
        command.stamp(store.get_alembic_config(logging_enabled=False), "head")
    except sqlalchemy.exc.ProgrammingError as error:
        raise Refusal(
            f"Covalent's tables cannot be made in the database {_name(store)}: {_reason(error)}. "
            f"Let its user make them{_how_to_let(store)}",
            NEEDS_ATTENTION,
        ) from None


def _how_to_let(store: "DataStore") -> str:
    """From PostgreSQL 15 on, that is the right of the database's owner."""
    url = store.engine.url
    if url.get_backend_name() != "postgresql":
        return ""
    role = url.username or account_name()
    quote = store.engine.dialect.identifier_preparer.quote_identifier
    return (
        ": as a superuser of the database server, type: "
        f"ALTER DATABASE {quote(url.database or role)} OWNER TO {quote(role)};"
    )


def _remove(file: Path) -> None:
    for leftover in (file, file.with_name(file.name + "-journal")):
        leftover.unlink(missing_ok=True)


def _name(store: "DataStore") -> str:
    if store.engine.url.get_backend_name() == "sqlite":
        return store.engine.url.database
    return make_url(store.db_URL).render_as_string(hide_password=True)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason'}"
