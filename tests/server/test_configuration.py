import json
import logging
import os
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import launcher  # noqa: F401
from covalent_service import configuration
from covalent_service.refusal import NEEDS_ATTENTION, Refusal

WRITTEN_BY_COVALENT = {
    "sdk": {"log_level": "warning", "no_cluster": "false"},
    "dispatcher": {"port": 48009, "address": "localhost"},
    "dask": {
        "num_workers": 7,
        "mem_per_worker": "1GB",
        "threads_per_worker": 2,
        "cache_dir": "/old",
        "scheduler_address": "tcp://127.0.0.1:1",
    },
    "workflow_data": {"base_dir": "/old"},
    "user_interface": {"port": 48009},
    "executors": {"dask": {"log_stdout": "mine.log"}, "ssh": {"username": "me"}},
}


class Rewrite(unittest.TestCase):
    """The file is JSON here: the tests run without the package that reads TOML."""

    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name, "covalent.conf")

    def rewrite(self, cores=2):
        configuration.rewrite(self.path, 9, cores, codec=json)
        return json.loads(self.path.read_text())

    def test_environment_counts_and_what_has_no_variable_survives(self):
        self.path.write_text(json.dumps(WRITTEN_BY_COVALENT))
        self.assertEqual(
            self.rewrite(),
            {
                "dask": {
                    "num_workers": 7,
                    "mem_per_worker": "1GB",
                    "threads_per_worker": 2,
                    "cores": 2,
                },
                "dispatcher": {"heartbeat_interval": 9},
                "executors": WRITTEN_BY_COVALENT["executors"],
            },
        )

    def test_folders_of_executors_follow_the_environment_unless_they_were_set(self):
        old = {
            "sdk": {"results_dir": "/old/covalent/results"},
            "executors": {
                "local": {"cache_dir": "/old/covalent", "workdir": "/old/covalent/workdir"},
                "dask": {"cache_dir": "/mine", "workdir": "/old/covalent/mine", "list": ["/mine"]},
            },
        }
        self.path.write_text(json.dumps(old))
        self.assertEqual(
            self.rewrite()["executors"], {"local": {}, "dask": old["executors"]["dask"]}
        )

    def test_folders_that_were_set_do_not_tell_where_the_caches_were(self):
        # Two variables say where the client's are, and on the page Settings was set the rest.
        for above, variables in (
            ("/mine", {}),  # taken away again by now
            ("/mine/covalent", {"COVALENT_DISPATCH_CACHE_DIR": "/mine/covalent/dispatches"}),
        ):
            old = {
                "sdk": {
                    "dispatch_cache_dir": f"{above}/dispatches",
                    "results_dir": "/old/covalent/results",
                },
                "executors": {"local": {"cache_dir": above, "workdir": "/old/covalent/workdir"}},
            }
            self.path.write_text(json.dumps(old))
            with self.subTest(above), mock.patch.dict(os.environ, variables):
                self.assertEqual(self.rewrite()["executors"], {"local": {"cache_dir": above}})

    def test_what_is_no_table_is_dropped_with_a_line(self):
        for wrong, name in (
            ({"executors": {"mine": "x", "dask": {"log_stdout": "a"}}}, "executors.mine"),
            ({"executors": "x"}, "executors"),
            ({"dask": 3}, "dask"),
            ({"sdk": [], "executors": {"dask": {"log_stdout": "a"}}}, "sdk"),
        ):
            with self.subTest(wrong):
                self.path.write_text(json.dumps(wrong))
                with self.assertLogs("covalent_service", logging.WARNING) as logs:
                    new = self.rewrite()
                self.assertIn(f"{name} is not a table", logs.output[0])
                self.assertEqual(new["dask"], {"cores": 2})
                self.assertIn(new.get("executors"), (None, {"dask": {"log_stdout": "a"}}))

    def test_first_start(self):
        first = {"dask": {"cores": 2}, "dispatcher": {"heartbeat_interval": 9}}
        self.assertEqual(self.rewrite(), first)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)

    def workers(self, before, cores):
        """What is kept of them on a machine with so many cores."""
        self.path.write_text(json.dumps({"dask": before}))
        return self.rewrite(cores)["dask"].get("num_workers")

    def test_workers_are_as_many_as_cores_unless_somebody_set_a_number(self):
        # As the first start on 64 cores left it, and a start of the package before.
        self.assertIsNone(self.workers({"num_workers": 64, "cores": 64}, cores=2))
        self.assertIsNone(self.workers({"num_workers": 2}, cores=2))
        for before in (
            {"num_workers": 5, "cores": 64},
            {"num_workers": 64},
            {"num_workers": 2, "cores": 64},
        ):
            self.assertEqual(self.workers(before, cores=2), before["num_workers"])

    def test_twice_is_as_once(self):
        self.path.write_text(json.dumps(WRITTEN_BY_COVALENT))
        self.assertEqual(self.rewrite(), self.rewrite())

    def test_damaged_file_is_moved_aside_with_a_line(self):
        for damage in (b"[dask", b"\xff\xfe"):
            with self.subTest(damage=damage):
                self.path.write_bytes(damage)
                with self.assertLogs("covalent_service", logging.WARNING) as logs:
                    self.rewrite()
                self.assertIn(f"{self.path} cannot be read", logs.output[0])
                broken = self.path.with_name("covalent.conf.broken")
                self.assertEqual(broken.read_bytes(), damage)

    def test_leaves_no_draft(self):
        self.rewrite()
        self.assertEqual(os.listdir(self.path.parent), ["covalent.conf"])

    def test_directory_that_is_not_there_is_refused_by_name(self):
        path = self.path.parent / "missing/covalent.conf"
        with self.assertRaises(Refusal) as refused:
            configuration.rewrite(path, 9, 2, codec=json)
        self.assertIn(str(path), str(refused.exception))
        self.assertEqual(refused.exception.exit_code, NEEDS_ATTENTION)


if __name__ == "__main__":
    unittest.main()
