"""Directories that the service may not write to."""

import os
import pwd
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import launcher  # noqa: F401
from covalent_service import account, directories, packages
from covalent_service.refusal import NEEDS_ATTENTION, Refusal
from covalent_service.settings import Settings

NOBODY = pwd.getpwnam("nobody").pw_uid


class Create(unittest.TestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name)
        self.home.chmod(0o777)
        if os.geteuid() == 0:  # who may write everywhere
            packages.directories({"HOME": "/"})  # loads what may be below /root
            os.setresuid(NOBODY, NOBODY, 0)
            self.addCleanup(os.setresuid, 0, 0, 0)

    def create(self, **variables):
        variables = {"HOME": str(self.home), **variables}
        with mock.patch.dict(os.environ, variables, clear=True):
            directories.create(Settings.read(variables))

    def test_makes_what_is_missing(self):
        self.create(COVALENT_DATA_DIR=f"{self.home}/data")
        self.assertTrue((self.home / "data").is_dir())

    def test_a_folder_of_somebody_else_is_refused_with_what_to_type(self):
        for name in ("DATA_DIR", "CACHE_DIR", "LOGDIR", "CONFIG_DIR"):
            folder = self.home / name
            folder.mkdir(mode=0o555)
            with self.subTest(name), self.assertRaises(Refusal) as refused:
                self.create(**{f"COVALENT_{name}": str(folder)})
            self.assertEqual(refused.exception.exit_code, NEEDS_ATTENTION)
            self.assertRegex(str(refused.exception), rf"; type: chown \S+ {folder} && ")

    def test_what_to_type_names_the_unit_of_the_machine(self):
        folder = self.home / "cache"
        folder.mkdir(mode=0o555)
        for unit in (account.SERVER, account.WORKER):
            with self.subTest(unit), self.assertRaisesRegex(Refusal, f"systemctl start {unit}$"):
                directories.create_own(folder, unit=unit)


if __name__ == "__main__":
    unittest.main()
