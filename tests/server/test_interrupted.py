"""What the server's end interrupted, as the journal and `covalentctl status` are told."""

import json
import tempfile
import unittest
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
