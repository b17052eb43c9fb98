"""Covalent's database: its address, its tables, and what messages call it."""

from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy.engine import make_url

from covalent_service import secrets
from covalent_service.account import account_name
from covalent_service.refusal import NEEDS_ATTENTION, Refusal

if TYPE_CHECKING:
    from covalent_dispatcher._db.datastore import DataStore


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


def create_schema(store: "DataStore") -> None:
    """Make all tables at once: Covalent's migrations fail on a new PostgreSQL database."""
    from alembic import command
    from covalent_dispatcher._db import models

    try:
        models.Base.metadata.create_all(store.engine)
        command.stamp(store.get_alembic_config(logging_enabled=False), "head")
    except sqlalchemy.exc.ProgrammingError as error:
        raise Refusal(
            f"Covalent's tables cannot be made in the database {name(store)}: {reason(error)}. "
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


def name(store: "DataStore") -> str:
    """Its file, or its address without the password."""
    if store.engine.url.get_backend_name() == "sqlite":
        return store.engine.url.database
    return make_url(store.db_URL).render_as_string(hide_password=True)


def reason(error: Exception) -> str:
    """The first line of what SQLAlchemy, a driver or a program says: the rest is statements."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason'}"
