"""Which account the server or a worker runs as."""

import os
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import launcher  # noqa: F401
from covalent_service import account
from covalent_service.refusal import NEEDS_ATTENTION, Refusal

UNIT = {account.STARTED_BY_SYSTEMD: str(os.getpid())}


class Check(unittest.TestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name)

    def refusal(self, home, environ, name, *unit):
        with (
            mock.patch.object(account, "account_name", return_value=name),
            self.assertRaises(Refusal) as refused,
        ):
            account.check(home, environ, *unit)
        self.assertEqual(refused.exception.exit_code, NEEDS_ATTENTION)
        return str(refused.exception)

    def test_the_units_is_the_packages(self):
        self.assertIn("take User= out", self.refusal(self.home, UNIT, "alice"))
        with mock.patch.object(account, "account_name", return_value=account.NAME):
            account.check(self.home, UNIT)

    def test_elsewhere_it_is_any_that_has_the_folder(self):
        # A variable that was inherited from a unit, as in a terminal of a desktop.
        for environ in ({}, {account.STARTED_BY_SYSTEMD: "1"}):
            account.check(self.home, environ)
            account.check(self.home / "new", environ)

    def test_a_folder_of_somebody_else_is_named(self):
        with mock.patch("os.access", return_value=False):
            told = self.refusal(self.home, {}, "alice")
        self.assertIn(f"cannot read and write {self.home}", told)
        with mock.patch.object(Path, "stat", side_effect=PermissionError(13, "no", "/above")):
            self.assertIn("cannot look into /above", self.refusal(self.home, {}, "alice"))

    def test_a_unit_without_its_folder_is_told_how_to_make_it(self):
        told = self.refusal(self.home / "gone", UNIT, account.NAME)
        self.assertIn("systemd-tmpfiles --create covalent.conf", told)

    def test_what_to_type_names_the_unit_of_the_machine(self):
        for home, name in ((self.home, "alice"), (self.home / "gone", account.NAME)):
            told = self.refusal(home, UNIT, name)
            self.assertIn("systemctl start covalent", told)
            self.assertEqual(
                self.refusal(home, UNIT, name, account.WORKER),
                told.replace("runs the server", "runs the worker")
                .replace("cat covalent`", "cat covalent-worker`")
                .replace("start covalent", "start covalent-worker"),
            )

    def test_an_account_without_a_name_is_its_number(self):
        self.assertEqual(account.account_name(987654), "987654")


if __name__ == "__main__":
    unittest.main()
