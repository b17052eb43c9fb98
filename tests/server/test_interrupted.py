"""What the server's end interrupted, as the journal and `covalentctl status` are told."""

import json
import tempfile
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path

import launcher  # noqa: F401
from covalent_service import interrupted


class Told(unittest.TestCase):
    def test_a_name_makes_one_line_whatever_is_in_it(self):
        workflow = interrupted.Workflow("an-id", "name\nserver: all is well\x1b[2J")
        with tempfile.TemporaryDirectory() as home:
            with self.assertLogs(interrupted.SERVICE) as told:
                interrupted.report([workflow], Path(home))
            kept = json.loads(Path(home, interrupted.FILE).read_text())
        self.assertEqual(
            told.records[-1].getMessage(), "interrupted: an-id (name?server: all is well?[2J)"
        )
        self.assertEqual(kept["workflows"][0]["lattice_name"], workflow.lattice_name)


class Kept(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name)
        self.file = self.home / interrupted.FILE

    def report(self, *names):
        with self.assertLogs(interrupted.SERVICE):
            interrupted.report([interrupted.Workflow(name, name) for name in names], self.home)
        return json.loads(self.file.read_text())

    def ids(self, content):
        return [workflow["dispatch_id"] for workflow in content["workflows"]]

    def was_written(self, content, **ago):
        """As if that long ago; the time of the whole, and of each workflow that has one."""
        when = (datetime.now(timezone.utc) - timedelta(**ago)).isoformat(timespec="seconds")
        for entry in (content, *content["workflows"]):
            if "when" in entry:
                entry["when"] = when
        self.file.write_text(json.dumps(content))

    def test_a_report_adds_to_those_of_the_week(self):
        self.was_written(self.report("a", "b"), days=6)
        content = self.report("c")
        self.assertEqual(self.ids(content), ["c", "a", "b"])
        times = [workflow["when"] for workflow in content["workflows"]]
        self.assertEqual(content["when"], times[0])
        self.assertLess(times[1], times[0])

    def test_what_is_older_is_dropped(self):
        self.was_written(self.report("a"), days=8)
        self.assertEqual(self.ids(self.report("b")), ["b"])

    def test_a_file_of_before_has_one_time_for_all(self):
        for days, kept in ((6, ["b", "a"]), (8, ["b"])):
            old = {"when": "", "workflows": [{"dispatch_id": "a", "lattice_name": "a"}]}
            self.was_written(old, days=days)
            self.assertEqual(self.ids(self.report("b")), kept)

    def test_a_damaged_file_is_as_if_there_were_none(self):
        for damage in (b"{", b"\xff", b"[]", b"3", b'{"when": "now", "workflows": [{}]}'):
            with self.subTest(damage):
                self.file.write_bytes(damage)
                self.assertEqual(self.ids(self.report("a")), ["a"])

    def test_is_never_more_than_is_read(self):
        content = self.report(*(f"{number:036}" for number in range(1100)))
        self.assertEqual(len(content["workflows"]), 1000)
        workflows = [interrupted.Workflow("x" * 36, "\U0001f600" * 1000)] * 1100
        with self.assertLogs(interrupted.SERVICE):
            interrupted.report(workflows, self.home)
        self.assertLess(self.file.stat().st_size, 1 << 20)
