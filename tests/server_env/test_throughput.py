"""What makes the dispatcher faster: what each part is for, and that nothing else changes."""

import asyncio
import base64
import errno
import inspect
import os
import pickle
import signal
import tempfile
import types
import unittest
import uuid
from pathlib import Path
from unittest import mock

import own_home  # noqa: F401

# isort: split
from covalent._shared_files import config
from covalent.executor import _executor_manager
from covalent.executor.executor_plugins import dask as plugin
from covalent_dispatcher._core.dispatcher_modules import caches
from covalent_dispatcher._dal import asset, controller

import records
from covalent_service import adjustments, copies, counters, statements, values
from served import Served
from test_connections import Database
from test_service import wait_for

MANY = """
import covalent as ct

@ct.electron
def number(i):
    import time
    time.sleep(0.1)
    return i

@ct.lattice
def workflow(count): return [number(i) for i in range(count)]

print({what})
"""
SHOWN = "SELECT id FROM electrons WHERE status = 'COMPLETED'"


class SameRecords(unittest.TestCase):
    maxDiff = None

    def test_all_that_workflows_leave_is_what_covalents_own_dispatcher_leaves(self):
        """On PostgreSQL: tests/machines/postgresql.rs."""
        self.assertEqual(records.differences(), [])

    def test_what_is_pickled_is_compared_by_what_it_says(self):
        def told(name, other, count):
            inner = pickle.dumps({"file": name, "function": [other, count]}, 5)
            outer = pickle.dumps([base64.b64encode(inner).decode(), inner], 5)
            return records.unpacked("begin" + outer.decode("latin-1") + "end")

        name = "/workflows/more.py"
        equal = "".join(["/workflows/", "more.py"])
        self.assertEqual(told(name, name, 1), told(name, equal, 1))
        self.assertNotEqual(told(name, name, 1), told(name, name, 2))
        self.assertNotEqual(told(name, name, 1), told(name, name + "!", 1))


class Kills(unittest.TestCase):
    def test_what_was_shown_as_finished_stays_finished(self):
        with Served() as server:
            server.start()
            workflow = server.client(MANY.format(what="ct.dispatch(workflow)(40)"))
            wait_for(lambda: len(server.query(SHOWN)) >= 20, seconds=60)
            shown = server.query(SHOWN)
            server.stop(signal.SIGKILL)
            server.start()
            self.assertLessEqual(set(shown), set(server.query(SHOWN)))
            again = f"ct.get_result(ct.redispatch({workflow!r}, reuse_previous_results=True)(), wait=True)"
            found = server.client(MANY.format(what=f"{again}.result"))
            self.assertEqual(found, str(list(range(40))))


class Statements(Database):
    def setUp(self):
        super().setUp()
        for name, number in (("a", 1), ("b", 2), ("c", 3)):
            self.put(name, number)

    def questions(self):
        """Each kind of question that Covalent asks, and what it changes."""
        found = []
        equal, among = {"dispatch_id": "b"}, {"dispatch_id": ["a", "c"]}
        none = {"equality_filters": {}, "membership_filters": {}}
        with self.store.session() as session:
            change = {**none, "equality_filters": equal}
            self.record.update_bulk(session, values={"num_unresolved_tasks": 20}, **change)
            change = {**none, "membership_filters": among}
            self.record.incr_bulk(session, increments={"num_unresolved_tasks": 5}, **change)
        for filters in (
            {},
            {"reverse": False},
            {"offset": 1, "max_items": 1},
            {"for_update": True},
        ):
            found.append(self.numbers(**filters))
        for kind in (
            {"equality_filters": equal, "membership_filters": {}},
            {"equality_filters": {}, "membership_filters": among},
            {"equality_filters": equal, "membership_filters": among},
            {"equality_filters": {"dispatch_id": None}, "membership_filters": {}},
            {"equality_filters": {}, "membership_filters": {"dispatch_id": []}},
        ):
            with self.store.session() as session:
                rows = self.record.get(session, fields=["num_unresolved_tasks"], **kind)
                found.append(sorted(row.num_unresolved_tasks for row in rows))
                whole = self.record.get(session, fields=[], **kind)
                found.append(sorted(one.dispatch_id for one in whole))
        return found

    def test_covalent_still_builds_each_anew(self):
        self.assertIn("stmt = select(", inspect.getsource(controller.Record.get))
        self.assertIn("stmt = update(", inspect.getsource(controller.Record.update_bulk))

    def test_the_answers_are_the_same(self):
        def fresh():
            with self.store.session() as session:
                self.record.delete_bulk(session, equality_filters={}, membership_filters={})
            for name, number in (("a", 1), ("b", 2), ("c", 3)):
                self.put(name, number)

        released = self.questions()
        fresh()
        statements.keep(self.record)
        self.assertEqual(self.questions(), released)
        self.assertEqual(released[0], [8, 20, 6])

    def test_is_built_once(self):
        statements.keep(self.record)
        before = statements._selection.cache_info().misses
        for name in "abc":
            with self.store.session() as session:
                self.record.get(
                    session,
                    fields={"dispatch_id"},
                    equality_filters={"dispatch_id": name},
                    membership_filters={},
                )
        self.assertLessEqual(statements._selection.cache_info().misses, before + 1)


class Counters(Database):
    def count(self, unresolved, pending):
        """What the dispatcher asks of them, in its order."""

        async def ask():
            await pending.set("w", 0, 2, [0, 3])
            await unresolved.set_unresolved("w", 0)
            return [
                await unresolved.increment("w", 5),
                await unresolved.decrement("w"),
                await unresolved.get_unresolved("w"),
                await pending.get_pending("w", 0),
                await pending.decrement("w", 0),
                await pending.get_task_group("w", 0),
                await unresolved.remove("w"),
                await pending.remove("w", 0),
                await unresolved.remove("w"),
            ]

        return asyncio.run(ask())

    def test_covalent_still_counts_in_a_database(self):
        counted = self.count(
            caches._WorkflowRunState(self.store), caches.TaskGroupRunState(self.store)
        )
        self.assertEqual(counted, self.count(counters.Unresolved(), counters.Pending()))

    def test_nothing_is_missing(self):
        for ours, own in (
            (counters.Unresolved, caches._WorkflowRunState),
            (counters.Pending, caches.TaskGroupRunState),
        ):
            asked = {name for name in vars(own) if not name.startswith("_")}
            self.assertEqual({name for name in vars(ours) if not name.startswith("_")}, asked)


class ConfigurationWhenChanged(unittest.TestCase):
    def setUp(self):
        self.names = type(_executor_manager).get_executor.__globals__
        own = self.names["update_config"]
        self.addCleanup(self.names.update, update_config=own)
        self.file = Path(config._config_manager.config_file)

    def writes(self):
        """How often two executors have the file written."""
        with mock.patch.object(
            config._config_manager, "write_config", wraps=config._config_manager.write_config
        ) as write:
            for _ in range(2):
                _executor_manager.get_executor("dask")
        return write.call_count

    def test_covalent_still_rewrites_it_for_every_executor(self):
        self.assertEqual(self.writes(), 2)

    def test_is_read_once(self):
        adjustments.configuration_when_changed(_executor_manager)
        self.assertEqual(self.writes(), 1)
        self.assertEqual(self.writes(), 0)

    def test_a_change_counts_for_the_next_executor(self):
        adjustments.configuration_when_changed(_executor_manager)
        _executor_manager.get_executor("dask")
        text = self.file.read_text()
        self.addCleanup(self.file.write_text, text)
        self.file.write_text(text.replace('log_stdout = "stdout.log"', 'log_stdout = "CUSTOM.log"'))
        self.assertEqual(_executor_manager.get_executor("dask").log_stdout, "CUSTOM.log")


class PlainCopies(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.own = mock.Mock(wraps=asset.cp)
        self.asset = types.SimpleNamespace(cp=self.own)
        copies.plain_copies(self.asset)

    def copied(self, name):
        """Whether it is there afterwards, and Covalent was asked."""
        source, target = self.folder / "source", self.folder / name
        source.write_text("content")
        self.own.reset_mock()
        self.asset.cp(f"file://{source}", str(target))
        return target.exists(), self.own.called

    def test_covalent_still_takes_addresses_apart(self):
        from covalent._file_transfer import file

        self.assertIn("furl(", inspect.getsource(file.File))

    def test_of_a_plain_path_is_a_copy(self):
        self.assertEqual(self.copied("new/folder/target"), (True, False))

    def test_of_any_other_path_is_covalents(self):
        for name in ("a%20b", "a?b", "a#b", "a/../b", "a//b", "a/", "s3://bucket/key"):
            target = name if ":" in name else f"/folder/{name}"
            own = mock.Mock()
            adjusted = types.SimpleNamespace(cp=own)
            copies.plain_copies(adjusted)
            adjusted.cp("/source", target)
            own.assert_called_once_with("/source", target)

    def test_a_file_that_is_missing_is_the_same_error(self):
        with self.assertRaises(FileNotFoundError):
            self.asset.cp(str(self.folder / "none"), str(self.folder / "target"))


class FilesWithTwoNames(unittest.TestCase):
    MADE = f"result_{uuid.uuid4()}-12.pkl"
    READ = f"asset_{uuid.uuid4()}-0_node_1.pkl"

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.asset = types.SimpleNamespace(cp=asset.cp)
        small = mock.patch.object(copies, "WORTH_A_NAME", len("content") - 2)
        small.start()
        self.addCleanup(small.stop)

    def passed(self, old, new, content="content"):
        """Whether both names are of one file afterwards."""
        source, target = self.folder / old, self.folder / new
        if not source.exists():
            source.write_text(content)
        self.asset.cp(f"file://{source}", f"file://{target}")
        self.assertEqual(target.read_text(), content)
        return target.samefile(source)

    def test_covalent_still_names_files_so(self):
        about = {"dispatch_id": str(uuid.uuid4()), "task_group_id": 0}
        name = plugin.DaskExecutor().get_upload_uri(about, "node_1")
        self.assertRegex(Path(name).name, copies.READ_BY_DASK)
        send = inspect.getsource(plugin.DaskExecutor.send)
        for part, ending in (("result", "pkl"), ("stdout", "txt"), ("stderr", "txt")):
            self.assertIn(f'f"{part}_{{dispatch_id}}-{{node_id}}.{ending}"', send)

    def test_covalent_still_makes_two_of_each(self):
        self.assertFalse(self.passed(self.MADE, "output.pkl"))
        self.assertFalse(self.passed("output.pkl", self.READ))

    def test_what_a_task_made_and_reads_has_two_names(self):
        copies.files_have_two_names(self.asset)
        self.assertTrue(self.passed(self.MADE, "new/output.pkl"))
        self.assertTrue(self.passed("new/output.pkl", self.READ))

    def test_a_name_that_is_taken_is_given_anew(self):
        copies.files_have_two_names(self.asset)
        self.assertTrue(self.passed("output.pkl", self.READ))
        kept = self.folder / "kept"
        os.link(self.folder / self.READ, kept)
        self.assertTrue(self.passed("another.pkl", self.READ, "other"))
        self.assertEqual(kept.read_text(), "content")

    def test_a_small_file_is_not_written_into_a_large_one_that_has_two_names(self):
        for adjust in (lambda _: None, copies.files_have_two_names):
            self.asset.cp = asset.cp
            adjust(self.asset)
            (self.folder / self.READ).unlink(missing_ok=True)
            (self.folder / "large").write_text("content")
            os.link(self.folder / "large", self.folder / self.READ)
            self.assertFalse(self.passed("small", self.READ, "1"))
            written_into = (self.folder / "large").read_text() != "content"
            self.assertEqual(written_into, adjust is not copies.files_have_two_names)

    def test_a_task_that_runs_again_changes_nothing_that_it_made_before(self):
        copies.files_have_two_names(self.asset)
        self.passed(self.MADE, "output.pkl")
        with values.open_anew(str(self.folder / self.MADE), "wb") as file:
            file.write(b"again")
        self.assertEqual((self.folder / "output.pkl").read_text(), "content")
        with values.open_anew(str(self.folder / self.MADE)) as file:
            self.assertEqual(file.read(), "again")

    def test_a_redispatch_has_files_of_its_own(self):
        copies.files_have_two_names(self.asset)
        self.assertTrue(self.passed(self.MADE, "output.pkl"))
        self.assertFalse(self.passed(self.MADE, "redispatched/output.pkl"))
        # It begins with what Covalent calls a copy of the file to itself.
        self.assertTrue(self.passed(self.MADE, "output.pkl"))

    def test_any_other_file_is_copied_and_a_small_one(self):
        copies.files_have_two_names(self.asset)
        self.assertFalse(self.passed(self.MADE, "small.pkl", "1"))
        self.assertFalse(self.passed("output.pkl", "copy.pkl"))

    def test_on_another_file_system_they_are_copied(self):
        copies.files_have_two_names(self.asset)
        with mock.patch("os.link", side_effect=OSError(errno.EXDEV, "another file system")):
            self.assertFalse(self.passed(self.MADE, "output.pkl"))
            self.assertFalse(self.passed("output.pkl", self.READ))

    def test_a_file_that_is_missing_is_the_same_error(self):
        copies.files_have_two_names(self.asset)
        for old, new in ((self.MADE, "output.pkl"), ("output.pkl", self.READ)):
            with self.assertRaises(FileNotFoundError):
                self.asset.cp(str(self.folder / old), str(self.folder / new))


if __name__ == "__main__":
    unittest.main()
