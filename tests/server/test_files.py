"""What a task may leave in the place of a file that the next start opens."""

import os
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import launcher  # noqa: F401
from covalent_service import files
from covalent_service.refusal import NEEDS_ATTENTION, Refusal
from covalent_service.settings import Settings


class MoveAside(unittest.TestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name)
        self.settings = Settings.read({"HOME": directory.name})
        self.path = self.home / "unproven"
        for folder in (self.settings.config_file.parent, self.settings.cache_dir):
            folder.mkdir(parents=True)

    def broken(self, path):
        return sorted(path.parent.glob(f"{path.name}.broken.*"))

    def test_whatever_is_no_file_is_moved_with_a_line_each_time(self):
        circle = self.home / "circle"
        circle.symlink_to(circle)
        for number, make in enumerate(
            (Path.mkdir, os.mkfifo, lambda path: path.symlink_to(circle)), start=1
        ):
            make(self.path)
            with self.assertLogs("covalent_service") as log:
                files.move_aside(self.settings)
            self.assertIn(f"{self.path} cannot be opened", log.output[0])
            self.assertFalse(os.path.lexists(self.path))
            self.assertEqual(len(self.broken(self.path)), number)

    def test_every_file_is_looked_at(self):
        places = (
            self.settings.config_file,
            Path(f"{self.settings.config_file}.lock"),
            self.settings.cache_dir / "covalent_ui.log",
            self.settings.cache_dir / "heartbeat",
            self.home / "interrupted.json",
            self.path,
        )
        for place in places:
            os.mkfifo(place)
        with self.assertLogs("covalent_service"):
            files.move_aside(self.settings)
        for place in places:
            self.assertTrue(self.broken(place), place)

    def test_a_file_stays_and_so_does_a_link_to_one(self):
        (self.home / "elsewhere").write_text("mine")
        self.path.symlink_to(self.home / "elsewhere")
        self.settings.config_file.write_text("")
        with self.assertNoLogs("covalent_service"):
            files.move_aside(self.settings)
        self.assertEqual(self.path.read_text(), "mine")
        self.assertTrue(self.settings.config_file.exists())

    def test_what_cannot_be_moved_is_refused_by_name(self):
        os.mkfifo(self.path)
        with (
            mock.patch.object(Path, "rename", side_effect=PermissionError(13, "no")),
            self.assertRaises(Refusal) as refused,
        ):
            files.move_aside(self.settings)
        self.assertIn(str(self.path), str(refused.exception))
        self.assertEqual(refused.exception.exit_code, NEEDS_ATTENTION)


if __name__ == "__main__":
    unittest.main()
