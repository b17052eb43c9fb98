"""Copies of an SQLite database, and questions to it."""

import os
import sqlite3
import subprocess
import sys
import unittest
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import launcher

# Ends in the middle of a transaction that has reached the file, as if killed.
CUT_OFF = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA cache_size = 1")
database.execute("UPDATE alembic_version SET version_num = 'half'")
database.execute("UPDATE filling SET text = replace(text, 'x', 'y')")
os._exit(0)
"""


class File(unittest.TestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.database = Path(directory.name, "a?b#c%41.sqlite")
        self.copy = Path(directory.name, "copy")
        with closing(sqlite3.connect(self.database)) as database, database:
            database.execute("CREATE TABLE alembic_version (version_num TEXT)")
            database.execute("INSERT INTO alembic_version VALUES ('whole')")
            database.execute("CREATE TABLE filling (text TEXT)")
            database.executemany("INSERT INTO filling VALUES (?)", [("x" * 4000,)] * 100)

    def snapshot(self, *words):
        script = launcher.DIRECTORY / "snapshot.py"
        return subprocess.run(
            [sys.executable, "-I", "-S", "-B", script, *words],
            env={"COVALENT_DATABASE": str(self.database)},
            input=b"\n",
            capture_output=True,
            timeout=60,
        )

    def cut_off(self):
        subprocess.run([sys.executable, "-c", CUT_OFF, self.database], check=True, timeout=60)
        journal = self.database.with_name(self.database.name + "-journal")
        self.assertTrue(journal.exists())
        self.assertIn(b"half", self.database.read_bytes())

    def test_what_was_cut_off_in_between_is_taken_back(self):
        self.cut_off()
        done = self.snapshot("revision")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"whole\n", b""))
        self.cut_off()
        done = self.snapshot("save")
        self.assertEqual((done.returncode, done.stderr), (0, b"whole\n"))
        self.copy.write_bytes(done.stdout)
        with closing(sqlite3.connect(self.copy)) as copy:
            whole = "SELECT count(*) FROM filling WHERE text LIKE 'x%'"
            self.assertEqual(copy.execute(whole).fetchone(), (100,))

    def test_what_is_not_there_is_not_made(self):
        os.unlink(self.database)
        for verb in ("revision", "save"):
            with self.subTest(verb=verb):
                self.assertEqual(self.snapshot(verb).returncode, 1)
                self.assertFalse(self.database.exists())

    def test_no_revision_leads_out_of_the_folder(self):
        outside = self.database.parent.parent / "outside"
        with closing(sqlite3.connect(self.database)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = '/../../outside'")
        earlier = self.database.with_name(self.database.name + ".aa")
        earlier.write_bytes(self.database.read_bytes())
        done = self.snapshot("exchange", "aa")
        self.assertEqual(done.returncode, 1, done)
        self.assertFalse(outside.exists())
        self.assertTrue(self.database.exists() and earlier.exists())

    def test_the_earlier_file_takes_the_place_of_the_present_one(self):
        earlier = self.database.with_name(self.database.name + ".aa")
        with closing(sqlite3.connect(earlier)) as database, database:
            database.execute("CREATE TABLE alembic_version (version_num TEXT)")
            database.execute("INSERT INTO alembic_version VALUES ('aa')")
        there = earlier.stat().st_ino
        done = self.snapshot("exchange", "aa")
        self.assertEqual(done.stdout.decode().strip(), f"{self.database}.whole", done)
        self.assertEqual(self.database.stat().st_ino, there)
        self.assertEqual(self.snapshot("revision").stdout, b"aa\n")


if __name__ == "__main__":
    unittest.main()
