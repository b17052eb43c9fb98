"""Connections that are kept, beside Covalent's own, which opens one for every transaction."""

import contextlib
import os
import sqlite3
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import own_home  # noqa: F401

# isort: split
from covalent_dispatcher._dal import controller
from covalent_dispatcher._db import models
from covalent_dispatcher._db.datastore import DataStore
from sqlalchemy import event
from sqlalchemy.pool import NullPool

from covalent_service import connections


class Database(unittest.TestCase):
    """A database of its own, with the tables of a running workflow's state."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name, "database")
        self.store = DataStore(f"sqlite+pysqlite:///{self.file}", initialize_db=True)
        self.addCleanup(lambda: self.store.engine.dispose())
        # A class of its own: what is done to it is done to no other.
        self.record = type("Record", (controller.Record,), {"model": models.WorkflowState})

    def put(self, name, number):
        with self.store.session() as session:
            values = {"dispatch_id": name, "num_unresolved_tasks": number}
            self.record.create(session, insert_kwargs=values)

    def numbers(self, **filters):
        with self.store.session() as session:
            rows = self.record.get(
                session,
                fields=["num_unresolved_tasks"],
                **{
                    "equality_filters": {},
                    "membership_filters": {},
                    "sort_fields": ["dispatch_id"],
                },
                **filters,
            )
        return [row.num_unresolved_tasks for row in rows]


class Connections(Database):
    def opened(self):
        """How many connections three transactions open."""
        opened = mock.Mock()
        event.listen(self.store.engine, "connect", opened)
        for name in "abc":
            self.put(name, 1)
        return opened.call_count

    def test_covalent_still_opens_the_file_for_every_transaction(self):
        self.assertIsInstance(self.store.engine.pool, NullPool)
        self.assertEqual(self.opened(), 3)

    def test_one_is_kept(self):
        connections.keep(self.store)
        self.assertEqual(self.opened(), 1)

    def test_commits_are_as_durable_as_before(self):
        def synchronous():
            with self.store.engine.connect() as connection:
                return connection.exec_driver_sql("PRAGMA synchronous").scalar()

        before = synchronous()
        connections.keep(self.store)
        self.assertEqual(before, 2)  # FULL
        self.assertEqual(synchronous(), before)

    def test_the_files_form_is_the_same_and_the_journal_left_behind_says_nothing(self):
        connections.keep(self.store)
        self.put("a", 1)
        journal = self.file.with_name("database-journal")
        self.assertEqual(set(journal.read_bytes()[:28]), {0})
        with contextlib.closing(sqlite3.connect(self.file)) as other:
            self.assertEqual(other.execute("PRAGMA journal_mode").fetchone(), ("delete",))
        # The file alone is the whole database.
        moved = self.file.with_name("moved")
        moved.write_bytes(self.file.read_bytes())
        with contextlib.closing(sqlite3.connect(moved)) as other:
            self.assertEqual(other.execute("SELECT count(*) FROM workflowstate").fetchone(), (1,))

    def test_a_large_transaction_leaves_no_large_journal(self):
        connections.keep(self.store)
        with mock.patch.object(connections, "JOURNAL_LIMIT", 4096):
            self.put("a" * 1_000_000, 1)
            with self.store.session() as session:
                session.execute(models.WorkflowState.__table__.update().values(dispatch_id="b"))
        self.assertLessEqual(self.file.with_name("database-journal").stat().st_size, 4096)

    def test_another_file_in_its_place_is_used(self):
        connections.keep(self.store)
        self.put("a", 1)
        other = DataStore(f"sqlite+pysqlite:///{self.file}.other", initialize_db=True)
        os.replace(other.engine.url.database, self.file)
        self.assertEqual(self.numbers(), [])

    def test_nobody_is_kept_from_the_file(self):
        connections.keep(self.store)
        self.put("a", 1)
        self.numbers()
        with contextlib.closing(sqlite3.connect(self.file, timeout=0)) as other, other:
            other.execute("BEGIN EXCLUSIVE")


if __name__ == "__main__":
    unittest.main()
