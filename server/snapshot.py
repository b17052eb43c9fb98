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
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # which Python leaves out with -I
from covalent_service.postgresql import REVISION, PostgreSQL, ProgramMissing  # noqa: E402

PROGRAMS_MISSING = 3
BUSY_TIMEOUT = 60  # seconds for a server in the middle of a write


def save_file(database: str, copy: str) -> str:
    """Copy by SQLite's own means (sqlite.org/backup.html); return the revision."""
    with closing(_opened(database)) as source, closing(sqlite3.connect(copy)) as target:
        # The folder of the copy is not this account's: there is no place for a journal.
        target.execute("PRAGMA journal_mode = OFF")
        source.backup(target)
        (verdict,) = target.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"{database} is damaged: {verdict}")
        return target.execute(REVISION).fetchone()[0]


def revision_of_file(database: str) -> str:
    """Return the revision."""
    with closing(_opened(database)) as file:
        return file.execute(REVISION).fetchone()[0]


def _opened(database: str) -> sqlite3.Connection:
    """What is not there is not made; what a server that was killed left half done is taken back,
    for which SQLite has to write."""
    address = f"{Path(database).absolute().as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT)


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
    except ProgramMissing as error:
        print(error, file=sys.stderr)
        sys.exit(PROGRAMS_MISSING)
    except (OSError, ValueError, sqlite3.Error) as error:
        sys.exit(str(error))
