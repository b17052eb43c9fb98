"""Makes many finished workflows of those in a database of Covalent's: multiply.py FILE WORKFLOWS.

Every row of every table again and again, with numbers and a workflow's name of its own, until there
are that many. The files that the rows name are not copied.
"""

import sqlite3
import sys
from contextlib import closing

# What begins with a workflow's name, eight digits of which are replaced.
NAMED = ("dispatch_id", "root_dispatch_id", "object_key")


def copied(database, table, width):
    """The columns of the nth copy of a table's rows: numbers are moved, names are changed."""
    moved = {"id": table}
    for row in database.execute(f"PRAGMA foreign_key_list({table})"):
        moved[row[3]] = row[2]
    for _, column, *_ in database.execute(f"PRAGMA table_info({table})"):
        if column in moved:
            yield f"{column} + n * {width[moved[column]]}"
        elif column in NAMED:
            yield f"printf('%08x', n) || substr({column}, 9)"
        else:
            yield column


def main(file, workflows):
    with closing(sqlite3.connect(file)) as database, database:
        names = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        tables = [name for (name,) in names if name != "alembic_version"]
        width = {
            table: database.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0]
            for table in tables
        }
        database.execute("CREATE TEMP TABLE copies (n INTEGER)")
        (there,) = database.execute("SELECT count(*) FROM lattices").fetchone()
        numbers = [(n,) for n in range(1, -(-int(workflows) // there))]
        database.executemany("INSERT INTO copies VALUES (?)", numbers)
        for table in tables:
            columns = ", ".join(copied(database, table, width))
            database.execute(f"INSERT INTO {table} SELECT {columns} FROM {table}, copies")


if __name__ == "__main__":
    main(*sys.argv[1:])
