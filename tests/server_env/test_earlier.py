"""Databases and files that earlier versions of Covalent left, served by this one.

They are real: tests/databases/make made them.
"""

import json
import os
import pickle
import sqlite3
import tarfile
import unittest
from contextlib import closing
from pathlib import Path

from served import Served, migrate

DATABASES = Path(__file__).resolve().parents[1] / "databases"
VERSIONS = ("0.202.0.post1", "0.220.0.post2", "0.232.0.post1", "0.238.0")
# Where their rows say that the files are.
THEIR_FOLDERS = ("/home/user/results", "/home/user/.local/share/covalent/data")

# What a client gets of each workflow of tests/databases/workflows.py.
FETCH = """
import covalent as ct

names = {names!r}
result = ct.get_result(names["finished"])
task = result.get_node_result(0)
hooks = result.lattice.transport_graph.get_node_value(0, "metadata")["hooks"]
print(result.status, result.result, result.inputs.get_deserialized(), result.lattice.__doc__)
print(task["output"].get_deserialized(), repr(task["stdout"]), "call_before" in hooks)
result = ct.get_result(names["failing"])
print(result.status, result.get_node_result(0)["status"])
result = ct.get_result(names["nested"])
print(result.status, result.result, result.get_node_result(0)["sublattice_result"].result)
result = ct.get_result(names["returning_code"])
print(result.status)
try:
    result.result
except Exception:
    print("cannot be opened")
"""
FETCHED = """\
COMPLETED 3 {'args': (1,), 'kwargs': {}} A workflow that ends well.
3 'adding\\n' True
FAILED FAILED
COMPLETED 6 6
COMPLETED
cannot be opened"""


class Evil:
    """Runs a command where it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def left_by(version, server, files=None):
    """Give a server that was not started yet what that Covalent left; return the workflows.

    The files are put in its data directory, or elsewhere, where the rows then find them.
    """
    data = server.database.parent / "data"
    target = files or data
    target.mkdir(parents=True)
    server.database.unlink()
    with tarfile.open(DATABASES / f"{version}.tar.xz") as archive:
        names = json.load(archive.extractfile("names.json"))
        rows = archive.extractfile("database.sql").read().decode()
        for member in archive.getmembers():
            if member.name.startswith("data/"):
                file = target / member.name.removeprefix("data/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.extractfile(member).read())
    if files:
        for folder in THEIR_FOLDERS:
            rows = rows.replace(f"'{folder}", f"'{files}")
    with closing(sqlite3.connect(server.database)) as database:
        database.executescript(rows)
    return names


def contents(folder):
    return folder and {file: file.read_bytes() for file in folder.rglob("*.*")}


class EarlierVersions(unittest.TestCase):
    def test_workflows_are_listed_and_results_fetched(self):
        for version in VERSIONS:
            with self.subTest(version=version), Served(COVALENT_DISABLE_DASK="1") as server:
                # 0.202 keeps them with each client: there they are found, and left alone.
                theirs = server.home / "theirs" if version.startswith("0.202") else None
                names = left_by(version, server, files=theirs)
                before = contents(theirs)
                server.start()
                self.assertNotIn("lost", server.output)
                listed = json.loads(server.get("/api/v1/dispatches/list?count=10"))["items"]
                self.assertEqual({item["dispatch_id"] for item in listed}, set(names.values()))
                self.assertEqual(server.client(FETCH.format(names=names)), FETCHED)
                self.assert_shown(server, names["finished"])
                self.assertEqual(contents(theirs), before)

    def test_an_attempt_that_was_cut_off_loses_nothing_to_the_next_one(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            theirs = server.home / "theirs"
            names = left_by("0.220.0.post2", server, files=theirs)
            before = contents(theirs)
            # In the way of the last file that the migration writes for a task.
            data = server.database.parent / "data"
            obstacle = data / names["nested"] / "node_0/hooks.json"
            obstacle.mkdir(parents=True)
            self.assertEqual(server.refuse(), 79)
            self.assertIn("IsADirectoryError", server.output)
            self.assertTrue((data / names["finished"] / "node_0/stdout.log").exists())
            obstacle.rmdir()
            server.start()
            self.assertNotIn("lost", server.output)
            self.assertEqual(server.client(FETCH.format(names=names)), FETCHED)
            self.assert_shown(server, names["finished"])
            self.assertEqual(contents(theirs), before)

    def assert_shown(self, server, dispatch_id):
        """In the UI, as it asks."""
        workflow = f"/api/v1/dispatches/{dispatch_id}"
        self.assertIn("add", server.get(f"{workflow}/graph"))
        for page, text in (
            (f"{workflow}/details/result", "3"),
            (f"{workflow}/details/inputs", "(1,)"),
            (f"{workflow}/details/function_string", "def finished"),
            (f"{workflow}/details/function", "finished"),
            (f"{workflow}/details/executor", "local"),
            (f"{workflow}/details/error", "data"),
            (f"{workflow}/electron/0", "COMPLETED"),
            (f"{workflow}/electron/0/details/result", "3"),
            (f"{workflow}/electron/0/details/inputs", "1"),
            (f"{workflow}/electron/0/details/function_string", "add"),
            (f"{workflow}/electron/0/details/function", "add"),
            (f"{workflow}/electron/0/details/stdout", "adding"),
        ):
            self.assertIn(text, server.get(page), page)

    def test_what_cannot_be_had_is_told_and_the_rest_is_served(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            names = left_by("0.220.0.post2", server)
            data = server.database.parent / "data"
            (data / names["nested"] / "results.pkl").unlink()
            (data / names["failing"] / "inputs.pkl").write_bytes(b"\x80")
            evil = data / names["returning_code"] / "results.pkl"
            evil.write_bytes(pickle.dumps(Evil(server.home / "made by a pickle")))
            server.start()
            self.assertIn("3 file(s) of workflows of an earlier Covalent are lost", server.output)
            self.assertFalse((server.home / "made by a pickle").exists())
            fetch = "import covalent as ct; print(ct.get_result({!r}).{})"
            for workflow, asked in (("nested", "status"), ("finished", "result")):
                answer = server.client(fetch.format(names[workflow], asked))
                self.assertIn(answer, ("COMPLETED", "3"))

    def test_covalent_still_migrates_no_row_of_0_220(self):
        for version in ("0.202.0.post1", "0.220.0.post2"):
            with self.subTest(version=version), Served() as server:
                left_by(version, server)
                self.assertIn("IntegrityError", migrate(server.home).stderr)


if __name__ == "__main__":
    unittest.main()
