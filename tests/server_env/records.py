"""What is left of the same workflows by Covalent's own dispatcher and by the faster one, compared.

    python records.py               on SQLite
    python records.py ADDRESS OTHER on two empty databases of PostgreSQL

Every row of the database, every file of a task, every status that was ever noted, in order. Left
out is what differs from one run to the next: identifiers, times (but for their order), digests.
"""

import base64
import difflib
import io
import json
import pickletools
import re
import subprocess
import sys
from pathlib import Path

import sqlalchemy

from served import Served

WORKFLOWS = Path(__file__).resolve().parents[1] / "workflows"
KINDS = (
    "tasks,local,executors,sublattice,failing,bash,redispatch,trigger,"
    "tree,half,failing_sublattice,dependencies,waiting,other_inputs,middle,one_of_two"
)
AS_RELEASED = Path(__file__).with_name("as_released.py")
# What differs, and what stands for it.
RANDOM = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", "UUID"),
    (r"(trigger|covalent_sample)_[0-9a-f]{8}", r"\1_NAME"),
    (r"(covalent|covalent-sample|covalent-test|postprocess)-[a-z0-9_]{8}", "TEMPORARY"),
    (r"(localhost|127\.0\.0\.1):\d+", "SERVER"),
    (r"0x[0-9a-f]+", "ADDRESS"),
    (r"tmp[a-z0-9_]{8}", "TEMPORARY"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*", "TIME"),
)
# Covalent's way to keep an object, which may hold another one: pickled, as it is or in base 64; and a
# sublattice on its way, whose headers have times: tar's, in base 64.
PACKED = re.compile(
    "(?P<pickle>\x80[\x04\x05][\x95X])"
    "|(?P<encoded>gA(?:[SW]V|VY)[A-Za-z0-9+/]{10,}={0,2})"
    "|Li8uL0BQYXhIZWFkZXI[A-Za-z0-9+/]+=*"
)
LEFT_OUT = ("created_at", "updated_at", "digest", "size")
TIMES = ("started_at", "completed_at")
NOTED = "CREATE TABLE noted (id {}, number INTEGER, kind TEXT, status TEXT)"
COUNTED = {"sqlite": "INTEGER PRIMARY KEY", "postgresql": "SERIAL"}
TRIGGERS = {
    "sqlite": "CREATE TRIGGER note_{0} AFTER UPDATE OF status ON {0} BEGIN "
    "INSERT INTO noted (number, kind, status) VALUES (new.id, '{0}', new.status); END",
    "postgresql": "CREATE TRIGGER note_{0} AFTER UPDATE OF status ON {0} "
    "FOR EACH ROW EXECUTE FUNCTION note()",
}
FUNCTION = (
    "CREATE FUNCTION note() RETURNS trigger AS $$ BEGIN "
    "INSERT INTO noted (number, kind, status) VALUES (new.id, TG_TABLE_NAME, new.status); RETURN new; "
    "END $$ LANGUAGE plpgsql"
)
WITH_STATUS = ("lattices", "electrons", "jobs")


def differences(*addresses):
    """The lines in which the records differ; none is what is hoped for."""
    released, faster = (
        record(launcher, address).splitlines()
        for launcher, address in zip((AS_RELEASED, None), addresses or (None, None))
    )
    if not released:
        raise AssertionError("nothing was recorded")
    return list(difflib.unified_diff(released, faster, "as released", "faster", n=8, lineterm=""))


def record(launcher=None, address=None):
    """Run the workflows on a server of their own; return what is left of them, as text."""
    variables = {"COVALENT_DATABASE_URL": address} if address else {}
    with Served(launcher=launcher, **variables) as server:
        server.start()
        engine = sqlalchemy.create_engine(address or f"sqlite:///{server.database}")
        with engine.begin() as database:
            note_every_status(database)
        workflows = subprocess.run(
            [
                sys.executable,
                str(WORKFLOWS / "more.py"),
                f"--port={server.port}",
                f"--only={KINDS}",
            ],
            # What is pickled depends on the order of sets, and on whether a module was compiled just now.
            env={
                "HOME": str(server.home),
                "PATH": "/usr/bin:/bin",
                "PYTHONHASHSEED": "0",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
        )
        if workflows.returncode:
            raise AssertionError(workflows.stdout + workflows.stderr + server.output)
        with engine.begin() as database:
            found = whole(database)
        code, _ = server.stop()
        if code or "Traceback" in server.output:
            raise AssertionError(server.output)
        return without_random(json.dumps(found, indent=1, sort_keys=True, default=str))


def note_every_status(database):
    kind = database.dialect.name
    database.execute(sqlalchemy.text(NOTED.format(COUNTED[kind])))
    if kind == "postgresql":
        database.execute(sqlalchemy.text(FUNCTION))
    for table in WITH_STATUS:
        database.execute(sqlalchemy.text(TRIGGERS[kind].format(table)))


def whole(database):
    """Every workflow with its tasks, as nested dictionaries, in the order of their identifiers."""

    def rows(question, **values):
        return [dict(row) for row in database.execute(sqlalchemy.text(question), values).mappings()]

    def noted(kind, number):
        question = "SELECT status FROM noted WHERE kind = :kind AND number = :number ORDER BY id"
        return [row["status"] for row in rows(question, kind=kind, number=number)]

    def assets(links, number):
        question = f"SELECT * FROM {links}, assets WHERE asset_id = assets.id AND meta_id = :number"
        found = rows(question, number=number)
        return {row["key"]: {**plain(row), **content(row)} for row in found}

    def task(row):
        number = row["id"]
        job = rows("SELECT * FROM jobs WHERE id = :id", id=row["job_id"])[0]
        # The client has them in any order.
        edges = rows(
            "SELECT transport_graph_node_id AS before, edge_name, parameter_type, arg_index, status,"
            " completed_at FROM electron_dependency, electrons"
            " WHERE parent_electron_id = electrons.id AND electron_id = :number ORDER BY 1, 2, 3, 4",
            number=number,
        )
        return {
            **plain(row),
            "noted": noted("electrons", number),
            "job": {**plain(job), "noted": noted("jobs", job["id"])},
            "assets": assets("electron_assets", number),
            "edges": [plain(edge) for edge in edges],
            "after those before it": all(
                str(edge["completed_at"]) <= str(row["started_at"])
                for edge in edges
                if row["started_at"]
            ),
        }

    def workflow(row):
        question = "SELECT * FROM electrons WHERE parent_lattice_id = :number ORDER BY transport_graph_node_id"
        return {
            **plain(row),
            "noted": noted("lattices", row["id"]),
            "assets": assets("lattice_assets", row["id"]),
            "tasks": [task(one) for one in rows(question, number=row["id"])],
        }

    started = [workflow(row) for row in rows("SELECT * FROM lattices ORDER BY id")]
    triggered = [one for one in started if one["name"].startswith("trigger_")]
    # As often as it had time to, the trigger has started the same one.
    return [one for one in started if one not in triggered or one is triggered[1]]


def plain(row):
    kept = {
        name: value
        for name, value in row.items()
        if name not in (*LEFT_OUT, *TIMES)
        and (not name.endswith("id") or not isinstance(value, int))
    }
    times = [str(row[name]) for name in TIMES if row.get(name)]
    return {**kept, "times": len(times), "in order": times == sorted(times)}


def content(asset):
    """What a file holds, and whether the database has its size."""
    file = Path(asset["storage_path"], asset["object_key"])
    if not file.exists():
        return {"content": None, "size": asset["size"]}
    text = file.read_text("latin-1")
    return {"content": unpacked(text), "is its size": asset["size"] == len(text)}


def unpacked(text):
    parts, place = [], 0
    while found := PACKED.search(text, place):
        start, end = found.span()
        told = "ARCHIVE"
        try:
            if found["pickle"]:
                told, length = opcodes(text[start:].encode("latin-1"))
                end = start + length
            elif found["encoded"]:
                told, _ = opcodes(base64.b64decode(found[0]))
        except (ValueError, LookupError):  # it only looks like one
            told = found[0]
        parts += text[place:start], told
        place = end
    return "".join([*parts, text[place:]])


def opcodes(data):
    """What the pickle at the beginning of `data` says, and its length.

    A string that occurs twice is in it once if both are one object. That depends on what else the process
    has loaded: the name of a file is one with that in any function of the file that is still around.
    """
    lines, memo, others, last = [], [], 0, None
    stream = io.BytesIO(data)
    for opcode, argument, _ in pickletools.genops(stream):
        if isinstance(argument, bytes):
            argument = argument.decode("latin-1")
        if opcode.name == "MEMOIZE":
            if last is None:
                last = f"object {others}"
                others += 1
            memo.append(last)
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            last = memo[argument]
            lines.append(last)
        elif isinstance(argument, str):
            last = unpacked(argument)
            lines.append(last)
        elif opcode.name != "FRAME":
            last = None
            lines.append(f"{opcode.name} {argument}")
    return "\n".join(lines), stream.tell()


def without_random(text):
    for pattern, name in RANDOM:
        text = re.sub(pattern, name, text)
    return text


if __name__ == "__main__":
    lines = differences(*sys.argv[1:])
    print("\n".join(lines))
    sys.exit(bool(lines))
