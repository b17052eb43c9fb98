"""What a server kept in a home, as an archive that `covalentctl restore` takes."""

import json
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "server/adopt.py"
TARGET = {
    "home": "/var/lib/covalent",
    "database": "/var/lib/covalent/new.sqlite",
    "data": "/var/lib/covalent/data",
    "configuration": "/var/lib/covalent/.config/covalent/covalent.conf",
}


class Adopt(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name) / "home"
        self.archive = Path(folder.name) / "adopted.tar.gz"

    def database(self, file, data):
        file.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(file) as rows:
            rows.executescript(
                "CREATE TABLE alembic_version (version_num TEXT);"
                "INSERT INTO alembic_version VALUES ('aa');"
                "CREATE TABLE lattices (dispatch_id TEXT, storage_path TEXT);"
                f"INSERT INTO lattices VALUES ('one', '{data}/one'), ('two', '/srv/elsewhere');"
                "CREATE TABLE assets (storage_path TEXT);"
                f"INSERT INTO assets VALUES ('{data}'), ('{data}-not');"
            )
        (data / "one").mkdir(parents=True)
        (data / "one/result").write_text("42")

    def call(self, *words):
        return subprocess.run(
            [sys.executable, "-I", "-S", "-B", SCRIPT, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )

    def take(self, home):
        done = self.call("take", home, self.archive, json.dumps(TARGET))
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def unpacked(self):
        target = self.home.parent / "unpacked"
        with tarfile.open(self.archive) as archive:
            archive.extractall(target, filter="data")
        return target

    def test_what_is_at_the_default_places_is_taken_to_the_new_ones(self):
        share = self.home / ".local/share/covalent"
        self.database(share / "dispatcher_db.sqlite", share / "data")
        settings = self.home / ".config/covalent/covalent.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(f'[executors.local]\ncache_dir = "{self.home}/.cache/covalent"\n')
        self.assertEqual(self.take(self.home)["workflows"], ["one", "two"])
        target = self.unpacked()
        manifest = json.loads((target / "backup.json").read_text())
        self.assertEqual((manifest["database_revision"], manifest["data"]), ("aa", TARGET["data"]))
        self.assertEqual((target / "var/lib/covalent/data/one/result").read_text(), "42")
        self.assertIn('"/var/lib/covalent/.cache', (target / manifest["members"][0]).read_text())
        with sqlite3.connect(target / "database.sqlite") as rows:
            paths = rows.execute("SELECT storage_path FROM lattices").fetchall()
            self.assertEqual(paths, [("/var/lib/covalent/data/one",), ("/srv/elsewhere",)])
            paths = rows.execute("SELECT storage_path FROM assets").fetchall()
            self.assertEqual(paths, [("/var/lib/covalent/data",), (f"{share}/data-not",)])
        # What it was taken from is as it was.
        listed = self.call("list", share / "dispatcher_db.sqlite").stdout
        self.assertEqual(listed, "one\ntwo\n")

    def test_what_covalent_conf_names_is_taken(self):
        data = self.home.parent / "disk/results"
        self.database(self.home.parent / "disk/db.sqlite", data)
        settings = self.home / ".config/covalent/covalent.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(
            f'results_dir = "{data}"\ndb_path = "{self.home.parent}/disk/db.sqlite"\n'
        )
        self.assertEqual(self.take(self.home)["data"], str(data))

    def test_a_home_without_a_database_is_refused_with_its_path(self):
        self.home.mkdir()
        done = self.call("take", self.home, self.archive, json.dumps(TARGET))
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"no database of Covalent's at {self.home}", done.stderr)
