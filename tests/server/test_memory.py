"""How much memory a unit may have."""

import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import launcher  # noqa: F401
from covalent_service import memory

UNIT = "system.slice/covalent.service"


class Limit(unittest.TestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.groups = Path(directory.name)
        (self.groups / UNIT).mkdir(parents=True)
        self.own = self.groups / "cgroup"
        self.own.write_text(f"0::/{UNIT}\n")

    def found(self):
        return memory.limit(self.own, self.groups)

    def write(self, group, file, value):
        (self.groups / group / file).write_text(f"{value}\n")

    def test_is_the_lowest_on_the_way_up(self):
        self.assertIsNone(self.found())
        self.write(UNIT, "memory.max", "max")
        self.assertIsNone(self.found())
        self.write("system.slice", "memory.max", 2 << 30)
        self.assertEqual(self.found(), 2 << 30)
        self.write(UNIT, "memory.max", 1 << 30)
        self.assertEqual(self.found(), 1 << 30)
        self.write(UNIT, "memory.high", 1 << 29)
        self.assertEqual(self.found(), 1 << 29)

    def test_of_a_container_is_at_the_top(self):
        self.own.write_text("0::/\n")
        self.write("", "memory.max", 1 << 30)
        self.assertEqual(self.found(), 1 << 30)

    def test_nothing_is_known_of_version_1(self):
        self.own.write_text("12:memory:/system.slice\n1:name=systemd:/\n")
        self.assertIsNone(self.found())
        self.own.unlink()
        self.assertIsNone(self.found())


if __name__ == "__main__":
    unittest.main()
