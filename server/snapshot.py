"""Copies Covalent's database as a whole while a server uses it, brings a copy back, and reads its
revision.

    python snapshot.py save FILE     writes the copy, prints the database's revision
    python snapshot.py load FILE     replaces what a database server has by the copy
    python snapshot.py revision      prints the revision; nothing for an empty database server

Which database: the address in COVALENT_DATABASE_URL, else the SQLite file in COVALENT_DATABASE.
The copy is an SQLite file, or an archive of pg_dump(1). Nothing but the standard library is needed.

Exit codes: 0 done; 1 failed, with the reason on standard error; 3 PostgreSQL's programs are missing.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from urllib.parse import parse_qsl, unquote, urlsplit

FAILED = 1
PROGRAMS_MISSING = 3
BUSY_TIMEOUT = 60  # seconds for a server in the middle of a write
REVISION = "SELECT version_num FROM alembic_version"  # Alembic's own table


def save_file(database: str, copy: str) -> str:
    """Copy by SQLite's own means (sqlite.org/backup.html); return the revision."""
    source = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)
    with closing(source), closing(sqlite3.connect(copy)) as target:
        # The folder of the copy is not this account's: there is no place for a journal.
        target.execute("PRAGMA journal_mode = OFF")
        source.backup(target)
        (verdict,) = target.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"{database} is damaged: {verdict}")
        return target.execute(REVISION).fetchone()[0]


def revision_of_file(database: str) -> str:
    """Return the revision."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)) as file:
        return file.execute(REVISION).fetchone()[0]


class PostgreSQL:
    """A database on a server, for the programs of PostgreSQL."""

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
        """Replace everything by the copy, or nothing if anything fails (pg_restore(1))."""
        options = ["--clean", "--if-exists", "--no-owner", "--single-transaction", "--dbname="]
        self._run(["pg_restore", *options, copy])

    def _ask(self, question: str) -> str:
        words = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", question]
        return self._run(words, stdout=subprocess.PIPE).stdout.decode().strip()

    def _run(self, words: list[str], **options: object) -> "subprocess.CompletedProcess[bytes]":
        if not shutil.which(words[0]):
            print(f"{words[0]} is missing", file=sys.stderr)
            sys.exit(PROGRAMS_MISSING)
        # A password in an argument or a variable could be read from /proc by others.
        memory = os.memfd_create("service")
        os.write(memory, self._service.encode())
        environment = {
            **os.environ,
            "PGSERVICEFILE": f"/dev/fd/{memory}",
            "PGSERVICE": "covalent",
        }
        environment.pop("COVALENT_DATABASE_URL", None)
        try:
            return subprocess.run(
                words, check=True, env=environment, pass_fds=[memory], **options
            )
        finally:
            os.close(memory)


def _service(address: str) -> str:
    """SQLAlchemy's address as a connection service file (libpq, "The Connection Service File")."""
    parts = urlsplit(address)
    values = {
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username and unquote(parts.username),
        "password": parts.password and unquote(parts.password),
        "dbname": unquote(parts.path.lstrip("/")),
        **dict(parse_qsl(parts.query)),
    }
    lines = [f"{name}={value}" for name, value in values.items() if value]
    if any("\n" in line for line in lines):
        raise ValueError("a line break in the address of the database")
    return "\n".join(["[covalent]", *lines, ""])


def main(verb: str, copy: str = "") -> None:
    """Do what the command line says."""
    address = os.environ.get("COVALENT_DATABASE_URL", "")
    if address and not address.startswith("postgresql"):
        raise ValueError("only PostgreSQL can be backed up and restored of all database servers")
    if verb == "load":
        PostgreSQL(address).load(copy)
    elif verb == "revision":
        file = os.environ.get("COVALENT_DATABASE", "")
        print(PostgreSQL(address).revision() if address else revision_of_file(file))
    elif address:
        print(PostgreSQL(address).save(copy))
    else:
        print(save_file(os.environ["COVALENT_DATABASE"], copy))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except subprocess.CalledProcessError as error:
        # The program itself said why.
        sys.exit(f"{error.cmd[0]} ended with status {error.returncode}")
    except (OSError, ValueError, sqlite3.Error) as error:
        sys.exit(str(error))
