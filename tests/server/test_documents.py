"""What the documentation names is there."""

import re
import unittest
from pathlib import Path

import imports

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


class Development(unittest.TestCase):
    """docs/development.md, the map of the sources."""

    def setUp(self):
        self.text = (PROJECT / "docs/development.md").read_text()

    def rows(self, heading):
        """What the first cells of the table with this heading name."""
        table = self.text.partition(f"| {heading} | what is in it |\n")[2].partition("\n\n")[0]
        first = [row.split("|")[1] for row in table.splitlines()]
        return re.findall(r"`([^`]+)`", " ".join(first))

    def test_every_file_that_is_named_is_there_and_has_the_words_that_follow(self):
        named = 0
        for words in re.findall(r"`([^`\n]+)`", self.text):
            file, _, expected = words.replace("\\|", "|").partition(": ")
            file = file.split()[0]
            # What is below target/ is made, sooner or later.
            if not (PROJECT / file.split("/")[0]).exists() or file.startswith(("/", "target/")):
                continue
            with self.subTest(words):
                self.assertTrue((PROJECT / file).exists())
                if re.fullmatch(r"[a-z_]+", expected):
                    self.assertRegex((PROJECT / file).read_text(), rf"(def|fn) {expected}\(")
                elif expected:
                    self.assertIn(expected, (PROJECT / file).read_text())
                    named += 1
        self.assertGreater(named, 30)

    def test_every_folder_is_on_the_map(self):
        there = {
            f"{path.name}/" for path in PROJECT.iterdir() if path.is_dir() and path.name[0] != "."
        }
        self.assertEqual({*self.rows("folder"), "docs/"} - there, set())
        self.assertEqual(there - {*self.rows("folder"), "docs/", "target/", "dist/"}, set())

    def test_folders_of_covalentctl_use_only_those_below(self):
        order = [name.rstrip("/") for name in self.rows("`src/`")]
        there = {path.name for path in (PROJECT / "src").iterdir()} - {"main.rs", "lib.rs"}
        self.assertEqual(set(order), there)
        for path, uses in imports.rust(PROJECT / "src").items():
            if path.name in ("main.rs", "lib.rs"):
                continue
            for used in uses:
                with self.subTest(path=str(path), uses=str(used)):
                    self.assertLessEqual(order.index(path.parts[0]), order.index(used.parts[0]))
