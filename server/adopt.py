"""Takes what a server kept in somebody's home along, as an archive that `covalentctl restore` brings back.

    python adopt.py take HOME ARCHIVE TARGET   writes the archive
    python adopt.py list DATABASE              prints the workflows of an SQLite file, a line each

HOME is the home that the server was started with, or the folder of its database. TARGET says in JSON
where the files are to be: `home`, `database`, `data`, `configuration`. Whoever HOME belongs to runs
this, so that nothing is read that is closed to that user; the server may run meanwhile. Prints in JSON
what was taken: `workflows`, `data`, `plugins`. Nothing but the standard library is needed.
"""

import json
import re
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

FORM = 1  # of backup.json (`src/data/backup/mod.rs`)
NAME = "dispatcher_db.sqlite"
TABLES = ("lattices", "electrons", "assets")
CHANGED_MEANWHILE = 1  # tar(1)
BUSY_TIMEOUT = 60  # seconds for a server in the middle of a write
LARGE_FILES = "/var/tmp"  # hier(7): not in memory, as /tmp may be


def workflows(database: Path) -> list[str]:
    """The identifiers of all workflows."""
    with closing(_opened(database)) as file:
        return [name for (name,) in file.execute("SELECT dispatch_id FROM lattices")]


class Source:
    """Where the server kept its things: what its `covalent.conf` says, else Covalent's defaults."""

    def __init__(self, home: Path) -> None:
        share = home if (home / NAME).exists() else home / ".local/share/covalent"
        self.home = home
        self.configuration = home / ".config/covalent/covalent.conf"
        try:
            self.settings = self.configuration.read_text()
        except OSError:
            self.settings = ""
        self.database = self._named("db_path", share / NAME)
        self.data = self._named("results_dir", share / "data")
        if not self.database.is_file():
            raise FileNotFoundError(f"there is no database of Covalent's at {self.database}")

    def _named(self, setting: str, default: Path) -> Path:
        found = re.search(rf'^{setting} *= *"(.*)"$', self.settings, re.M)
        named = Path(found[1]) if found else default
        return named if named.is_absolute() and named.exists() else default


def take(home: Path, archive: str, target: dict[str, str]) -> dict[str, Any]:
    """Write the archive; say what is in it."""
    source = Source(home)
    with tempfile.TemporaryDirectory(dir=LARGE_FILES) as folder:
        staging = Path(folder)
        revision = _copy(source.database, staging / "database.sqlite")
        _move(staging / "database.sqlite", source.data, target["data"])
        members = [target["configuration"].lstrip("/")]
        (staging / members[0]).parent.mkdir(parents=True)
        settings = source.settings.replace(f'"{source.home}/', f'"{target["home"]}/')
        (staging / members[0]).write_text(settings)
        data = target["data"].lstrip("/")
        arguments = [f"--directory={staging}", "backup.json", "database.sqlite", members[0]]
        if source.data.is_dir():
            members.append(data)
            arguments += [f"--directory={source.data}", "."]
        manifest = {
            "version": FORM,
            "made": datetime.now(timezone.utc).isoformat(),
            "covalent": "0",  # of whatever version: the server knows what it can migrate
            "database_revision": revision,
            "database": target["database"],
            "data": target["data"],
            "members": members,
        }
        (staging / "backup.json").write_text(json.dumps(manifest))
        compression = "--zstd" if archive.endswith(".zst") else "--gzip"
        command = ["tar", "--create", compression, f"--file={archive}", "--force-local"]
        # Of the names alone, not of what links among them lead to.
        command += [f"--transform=s,^\\.,{data},S", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode > CHANGED_MEANWHILE:
            raise OSError(done.stderr.strip())
        plugins = source.configuration.parent / "executor_plugins"
        return {
            "workflows": workflows(staging / "database.sqlite"),
            "data": str(source.data),
            "plugins": [str(file) for file in sorted(plugins.glob("*.py"))],
        }


def _copy(database: Path, copy: Path) -> str:
    """Copy by SQLite's own means (sqlite.org/backup.html); return the revision."""
    with closing(_opened(database)) as old, closing(sqlite3.connect(copy)) as new:
        old.backup(new)
        return new.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def _opened(database: Path) -> sqlite3.Connection:
    """What is not there is not made."""
    return sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT)


def _move(database: Path, before: Path, after: str) -> None:
    """Have the rows name the files where they will be."""
    with closing(sqlite3.connect(database)) as file, file:
        for table in TABLES:
            columns = {row[1] for row in file.execute(f"PRAGMA table_info({table})")}
            if "storage_path" in columns:
                file.execute(
                    f"UPDATE {table} SET storage_path = ? || substr(storage_path, ?) "
                    "WHERE storage_path = ? OR substr(storage_path, 1, ?) = ?",
                    (after, len(str(before)) + 1, str(before), len(str(before)) + 1, f"{before}/"),
                )


def main(verb: str, path: str, archive: str = "", target: str = "{}") -> None:
    """Do what the command line says."""
    if verb == "list":
        print("\n".join(workflows(Path(path))))
    else:
        print(json.dumps(take(Path(path), archive, json.loads(target))))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError, sqlite3.Error) as error:
        sys.exit(str(error))
