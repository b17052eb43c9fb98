"""Asks Covalent's database, copies it as a whole while a server uses it, and exchanges it.

    python snapshot.py save          the copy on standard output, its revision on standard error
    python snapshot.py load          replaces what a database server has by the copy on standard input
    python snapshot.py revision      prints the revision; nothing for an empty database server
    python snapshot.py earlier TO    whether a file of revision TO is beside that of the database
    python snapshot.py exchange TO   puts that file in the place of the database's, which stays
                                     beside it; prints where
    python snapshot.py sweep         removes what a migration that was cut off has left

The first line of the standard input is the address of the database, as SQLAlchemy has it: what a
process was started with, others could read. An empty line means the SQLite file in
COVALENT_DATABASE. The copy is an SQLite file, or an archive of pg_dump(1). Nothing but the standard
library is needed. It runs as the account of the service: whatever it says is that account's word.

Exit codes: 0 done; 1 failed, with the reason on standard error; 3 PostgreSQL's programs are missing.
"""

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # which Python leaves out with -I
from covalent_service.postgresql import REVISION, PostgreSQL, ProgramMissing  # noqa: E402

PROGRAMS_MISSING = 3
BUSY_TIMEOUT = 60  # seconds for a server in the middle of a write
LARGE_FILES = "/var/tmp"  # hier(7): not in memory, as /tmp may be
DRAFT = ".upgrading"  # covalent_service/migration.py
# What SQLite keeps beside a database that was not closed (sqlite.org, "Temporary Files").
COMPANIONS = ("-journal", "-wal", "-shm")


def save_file(database: Path) -> str:
    """Copy by SQLite's own means (sqlite.org/backup.html); return the revision."""
    with _temporary() as copy, closing(_opened(database)) as source:
        with closing(sqlite3.connect(copy)) as target:
            target.execute("PRAGMA journal_mode = OFF")
            source.backup(target)
            (verdict,) = target.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"{database} is damaged: {verdict}")
            revision = target.execute(REVISION).fetchone()[0]
        _write_out(copy)
        return revision


def revision_of_file(database: Path) -> str:
    """Return the revision."""
    with closing(_opened(database)) as file:
        return file.execute(REVISION).fetchone()[0]


def exchange(database: Path, to: str) -> Path:
    """Put the file of revision `to` in the place of the database; return where that is now."""
    earlier = _beside(database, to)
    if earlier.stat().st_uid != os.geteuid():
        # Whoever put a backup there has not given it away: the server has to write it.
        own = _beside(database, f"{to}.own")
        shutil.copyfile(earlier, own, follow_symlinks=False)
        own.chmod(0o640)
        os.replace(own, earlier)
    aside = _beside(database, revision_of_file(database))
    # An earlier return may have left one there, with data that is nowhere else.
    names = (aside if number == 1 else _beside(aside, str(number)) for number in count(1))
    aside = next(name for name in names if not os.path.lexists(name))
    os.link(database, aside, follow_symlinks=False)
    for companion in COMPANIONS:
        there = database.with_name(database.name + companion)
        if there.exists():
            os.replace(there, aside.with_name(aside.name + companion))
    os.replace(earlier, database)
    _sync(database.parent)
    return aside


def sweep(database: Path) -> None:
    """Remove the copy that a migration was at work on."""
    draft = database.with_name(database.name + DRAFT)
    for leftover in (draft.with_name(draft.name + COMPANIONS[0]), draft):
        leftover.unlink(missing_ok=True)


def main(verb: str, to: str = "") -> None:
    """Do what the command line says."""
    address = _first_line()
    if address and not address.startswith("postgresql"):
        raise ValueError("PostgreSQL is the only database server that can be backed up")
    server = PostgreSQL(address) if address else None
    file = Path(os.environ.get("COVALENT_DATABASE", ""))
    if verb == "revision":
        print(server.revision() if server else revision_of_file(file))
    elif verb == "save":
        print(_save_server(server) if server else save_file(file), file=sys.stderr)
    elif verb == "load" and server:
        _load_server(server)
    elif verb == "earlier":
        print("yes" if _beside(file, to).is_file() else "no")
    elif verb == "exchange":
        print(exchange(file, to))
    elif verb == "sweep":
        sweep(file)
    else:
        raise ValueError(f"{verb} is not for this database")


def _save_server(server: PostgreSQL) -> str:
    with _temporary() as copy:
        revision = server.save(copy)
        _write_out(copy)
    return revision


def _load_server(server: PostgreSQL) -> None:
    with _temporary() as copy:
        with open(copy, "wb") as file:
            shutil.copyfileobj(open(0, "rb", closefd=False), file)
        server.load(copy)


def _opened(database: Path) -> sqlite3.Connection:
    """What is not there is not made; what a server that was killed left half done is taken back,
    for which SQLite has to write."""
    address = f"{database.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT)


@contextmanager
def _temporary() -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", LARGE_FILES)) as folder:
        yield os.path.join(folder, "copy")


def _write_out(copy: str) -> None:
    with open(copy, "rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _first_line() -> str:
    """Read no byte more: the rest is a copy."""
    line = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line.decode()


def _beside(database: Path, end: str) -> Path:
    return database.with_name(f"{database.name}.{end}")


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ProgramMissing as error:
        print(error, file=sys.stderr)
        sys.exit(PROGRAMS_MISSING)
    except (OSError, ValueError, sqlite3.Error) as error:
        sys.exit(str(error))
