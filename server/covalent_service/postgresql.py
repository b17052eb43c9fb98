"""PostgreSQL's own programs, which copy a database of Covalent's and bring the copy back.

Nothing but the standard library: `snapshot.py` is run without an environment.
"""

import csv
import os
import re
import shutil
import subprocess
from typing import IO
from urllib.parse import parse_qsl, unquote

REVISION = "SELECT version_num FROM alembic_version"  # Alembic's own table

# The name as pg_restore(1) lists it, and as a statement needs it.
TABLES = (
    "SELECT schemaname || ' ' || tablename, format('%I.%I', schemaname, tablename) "
    "FROM pg_tables WHERE tableowner = current_user"
)
LOCK_TIMEOUT = 60  # seconds

# As SQLAlchemy 1.4 takes an address apart (sqlalchemy/engine/url.py): a password may hold
# whatever is no "@", in user and password alone %XX stands for a character.
ADDRESS = re.compile(
    r"[\w+]+://"
    r"(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<address>[^/?]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<dbname>[^?]*))?"
    r"(?:\?(?P<query>.*))?"
)


class ProgramMissing(OSError):
    """The package with PostgreSQL's client programs is not installed."""


class ProgramFailed(OSError):
    """A program said why on standard error."""


class PostgreSQL:
    """A database on a server, by its address as SQLAlchemy has it."""

    def __init__(self, address: str) -> None:
        self._service = _service(address)

    def save(self, copy: str) -> str:
        """Copy with pg_dump(1); return the revision."""
        with open(copy, "wb") as file:
            self._run(["pg_dump", "--format=custom", "--no-owner"], stdout=file)
        return self._ask(REVISION)

    def revision(self) -> str:
        """Return the revision; nothing if no server of Covalent's has used it yet."""
        there = self._ask("SELECT to_regclass('alembic_version')")
        return self._ask(REVISION) if there else ""

    def load(self, copy: str) -> None:
        """Replace everything by the copy (pg_restore(1)); what another role owns stays."""
        self._drop_what_is_not_in(copy)
        options = ["--clean", "--if-exists", "--no-owner", "--single-transaction", "--dbname="]
        self._run(["pg_restore", *options, copy])

    def _drop_what_is_not_in(self, copy: str) -> None:
        """A migration's new tables would be in the way of those that they refer to."""
        listed = self._run(["pg_restore", "--list", copy], stdout=subprocess.PIPE).stdout.decode()
        there = csv.reader(self._ask(TABLES).splitlines())
        new = [quoted for name, quoted in there if f" TABLE {name} " not in listed]
        if new:
            self._ask(f"DROP TABLE {', '.join(new)} CASCADE")

    def _ask(self, question: str) -> str:
        words = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--csv"]
        answer = self._run([*words, "--command", question], stdout=subprocess.PIPE)
        return answer.stdout.decode().strip()

    def _run(
        self, words: list[str], stdout: IO[bytes] | int | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        if not shutil.which(words[0]):
            raise ProgramMissing(f"{words[0]} is missing")
        # A password in an argument or a variable could be read from /proc by others.
        memory = os.memfd_create("service")
        os.write(memory, self._service.encode())
        environment = {
            # Whoever holds a lock for long is no reason to wait for ever.
            "PGOPTIONS": f"-c lock_timeout={LOCK_TIMEOUT}s",
            **os.environ,
            "PGSERVICEFILE": f"/dev/fd/{memory}",
            "PGSERVICE": "covalent",
        }
        environment.pop("COVALENT_DATABASE_URL", None)
        try:
            done = subprocess.run(words, env=environment, pass_fds=[memory], stdout=stdout)
        finally:
            os.close(memory)
        if done.returncode:
            raise ProgramFailed(f"{words[0]} ended with status {done.returncode}")
        return done


def _service(address: str) -> str:
    """SQLAlchemy's address as a connection service file (libpq, "The Connection Service File").

    No error tells anything of the address, which may hold a password.
    """
    parts = ADDRESS.fullmatch(address)
    if not parts:
        raise ValueError("the address of the database cannot be taken apart")
    values = {
        "host": parts["address"] or parts["host"],
        "port": parts["port"],
        "user": parts["user"] and unquote(parts["user"]),
        "password": parts["password"] and unquote(parts["password"]),
        "dbname": parts["dbname"],
        **dict(parse_qsl(parts["query"] or "")),
    }
    lines = [f"{name}={value}" for name, value in values.items() if value]
    if any("\n" in line for line in lines):
        raise ValueError("a line break in the address of the database")
    return "\n".join(["[covalent]", *lines, ""])
