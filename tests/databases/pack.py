"""Packs what a Covalent left below a home: its database as SQL, and the workflows' files."""

import io
import re
import sqlite3
import sys
import tarfile
from pathlib import Path

home, target = Path(sys.argv[1]), sys.argv[2]
# Where 0.202 puts the files (below the directory of the client), and where later ones do.
folders = (home / "results", home / ".local/share/covalent/data")
# The largest files by far; no later Covalent reads them.
LEFT_OUT = "transport_graph.pkl"


def add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def without_interpreter(text):
    """A traceback names the files of the interpreter as well, wherever that is."""
    return re.sub(rb'(File ")[^"]*(/lib/python3)', rb"\1/usr\2", text)


database = sqlite3.connect(home / ".local/share/covalent/dispatcher_db.sqlite")
workflows = [name for (name,) in database.execute("SELECT dispatch_id FROM lattices")]
with tarfile.open(target, "w:xz") as archive:
    add(archive, "names.json", (home / "names.json").read_bytes())
    add(archive, "database.sql", "\n".join(database.iterdump()).encode())
    for folder in folders:
        for workflow in workflows:
            for file in sorted((folder / workflow).rglob("*")):
                if file.is_file() and file.name != LEFT_OUT:
                    content = file.read_bytes()
                    if file.suffix == ".log":
                        content = without_interpreter(content)
                    add(archive, f"data/{file.relative_to(folder)}", content)
