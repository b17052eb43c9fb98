"""What the documentation names is there."""

import re
import unittest
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


class Adjustments(unittest.TestCase):
    def test_every_test_that_is_named_exists(self):
        text = (PROJECT / "docs/adjustments.md").read_text()
        named = 0
        for cell in re.findall(r"\|([^|\n]*)\|\n", text):
            file = ""
            for words in re.findall(r"`([^`]+)`", cell):
                file, _, name = words.rpartition(": ") if ": " in words else (file, "", words)
                with self.subTest(file=file, name=name):
                    source = (PROJECT / file).read_text()
                    self.assertRegex(source, rf"(def|fn) {name}\(")
                    named += 1
        self.assertGreater(named, 30)
