"""Which accounts are let in."""

import asyncio
import grp
import os
import pwd
import tempfile
import threading
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import launcher  # noqa: F401
from covalent_service import local_users
from covalent_service.local_users import LocalUsers

PEOPLE = {1001: ("alice", 1001), 1002: ("bob", 1002), 1003: ("carol", 900), 1004: ("dan", 1004)}
OTHER = 4711  # has no name


class Directory(unittest.TestCase):
    """Name services of the test's own."""

    def setUp(self):
        self.groups = {
            "covalent-users": (900, ["alice"]),
            "sudo": (27, []),
            "other": (901, ["bob"]),
        }
        self.more = {}  # groups of people that only a directory knows
        self.asked = []
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name, "group")
        self.file.write_text("")
        for target, name, value in (
            (pwd, "getpwuid", self.person),
            (grp, "getgrnam", self.group),
            (os, "getgrouplist", lambda name, number: [number, *self.more.get(name, [])]),
            (local_users, "FILES", (str(self.file), "/nowhere")),
        ):
            patch = mock.patch.object(target, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def person(self, uid):
        self.asked.append(uid)
        name, group = PEOPLE[uid]
        return SimpleNamespace(pw_name=name, pw_gid=group)

    def group(self, name):
        number, members = self.groups[name]
        return SimpleNamespace(gr_gid=number, gr_mem=members)

    def let_in(self, *uids, users=None):
        async def ask():
            return [await (users or LocalUsers("covalent-users")).lets_in(uid) for uid in uids]

        return asyncio.run(ask())


class Members(Directory):
    def test_are_let_in_and_so_is_whoever_may_become_root(self):
        self.assertEqual(self.let_in(0, os.geteuid()), [True, True])
        self.assertEqual(self.let_in(1001, 1002, 1003, 1004), [True, False, True, False])
        self.groups["sudo"] = (27, ["dan"])
        self.assertEqual(self.let_in(1004), [True])
        self.groups["wheel"] = (10, ["bob"])
        self.assertEqual(self.let_in(1002), [True])

    def test_whom_a_directory_has_in_the_group_is(self):
        self.more["bob"] = [900]
        self.assertEqual(self.let_in(1002), [True])

    def test_nobody_is_where_the_group_is_missing(self):
        del self.groups["covalent-users"]
        self.assertEqual(self.let_in(0, 1001, 1003), [True, False, False])

    def test_neither_is_who_has_no_name_or_cannot_be_told(self):
        self.assertEqual(self.let_in(OTHER, None), [False, False])

    def test_another_group_may_be_set_and_with_none_everybody_is(self):
        self.assertEqual(self.let_in(1001, 1002, users=LocalUsers("other")), [False, True])
        self.assertEqual(self.let_in(1001, OTHER, None, users=LocalUsers("")), [True] * 3)


class Currency(Directory):
    def test_a_change_of_the_files_counts_at_once(self):
        users = LocalUsers("covalent-users")
        self.assertEqual(self.let_in(1002, users=users), [False])
        self.groups["covalent-users"] = (900, ["bob"])
        self.file.write_text("changed")
        self.assertEqual(self.let_in(1002, users=users), [True])

    def test_one_of_a_directory_after_a_moment_in_which_nobody_is_asked(self):
        users = LocalUsers("covalent-users")
        clock = time.monotonic()
        with mock.patch.object(time, "monotonic", lambda: clock):
            self.assertEqual(self.let_in(1002, 1002, 1002, users=users), [False] * 3)
            self.assertEqual(self.asked, [1002])
            self.more["bob"] = [900]
            self.assertEqual(self.let_in(1002, users=users), [False])
            clock += local_users.VALIDITY
            self.assertEqual(self.let_in(1002, users=users), [True])

    def test_who_has_to_wait_for_a_name_service_holds_nobody_else_up(self):
        answered = threading.Event()
        known = self.person

        def slow(uid):
            if uid == 1004:
                answered.wait(10)
            return known(uid)

        async def ask():
            users = LocalUsers("covalent-users")
            slow_ones = [asyncio.create_task(users.lets_in(1004)) for _ in range(20)]
            await asyncio.sleep(0)
            self.assertEqual([await users.lets_in(uid) for uid in (1001, 1002)], [True, False])
            self.assertFalse(any(task.done() for task in slow_ones))
            answered.set()
            self.assertEqual([await task for task in slow_ones], [False] * 20)
            self.assertEqual(self.asked.count(1004), 1)

        with mock.patch.object(pwd, "getpwuid", slow):
            asyncio.run(ask())

    def test_what_is_kept_has_an_end(self):
        users = LocalUsers("covalent-users")
        with mock.patch.object(local_users, "KEPT", 5):
            self.let_in(*range(10_000, 10_100), users=users)
        self.assertLessEqual(len(users._answers), 5)


if __name__ == "__main__":
    unittest.main()
