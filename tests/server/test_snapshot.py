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
            capture_output=True,
            text=True,
            timeout=60,
        )

    def cut_off(self):
        subprocess.run([sys.executable, "-c", CUT_OFF, self.database], check=True, timeout=60)
        journal = self.database.with_name(self.database.name + "-journal")
        self.assertTrue(journal.exists())
        self.assertIn(b"half", self.database.read_bytes())

    def test_what_was_cut_off_in_between_is_taken_back(self):
        for words in (["revision"], ["save", self.copy]):
            with self.subTest(words=words):
                self.cut_off()
                done = self.snapshot(*words)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "whole\n", ""))
        with closing(sqlite3.connect(self.copy)) as copy:
            whole = "SELECT count(*) FROM filling WHERE text LIKE 'x%'"
            self.assertEqual(copy.execute(whole).fetchone(), (100,))

    def test_what_is_not_there_is_not_made(self):
        os.unlink(self.database)
        for words in (["revision"], ["save", self.copy]):
            with self.subTest(words=words):
                self.assertEqual(self.snapshot(*words).returncode, 1)
                self.assertFalse(self.database.exists())


if __name__ == "__main__":
    unittest.main()
