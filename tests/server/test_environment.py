"""What a worker's environment has to have in common with the server's."""

import unittest

import launcher  # noqa: F401
from covalent_service import environment

SERVER = {
    "python": "3.11",
    "packages": {"covalent": "0.240.0", "dask": "2026.8.0", "numpy": "2.4.6"},
    "launcher": "a" * 64,
    "package": "0.240.0-2",
}


class Difference(unittest.TestCase):
    def words(self, **changes):
        return environment.difference(SERVER, {**SERVER, **changes})

    def test_none_if_the_worker_can_run_what_the_server_has(self):
        self.assertEqual(self.words(), "")
        packages = {**SERVER["packages"], "cupy": "14.0"}
        self.assertEqual(self.words(packages=packages), "", "a package of the worker's own")

    def test_python_is_named_by_its_minor_version(self):
        self.assertEqual(self.words(python="3.13"), "Python 3.13 here, 3.11 on the server")

    def test_packages_are_named(self):
        packages = {**SERVER["packages"], "dask": "2026.7.0"}
        del packages["numpy"]
        self.assertEqual(
            self.words(packages=packages),
            "dask 2026.7.0 here, 2026.8.0 on the server; numpy missing here, 2.4.6 on the server",
        )

    def test_many_are_counted(self):
        self.assertTrue(self.words(packages={}, launcher="b").endswith(", and 1 more"))

    def test_the_package_is_named(self):
        self.assertEqual(
            self.words(launcher="b" * 64, package="0.240.0-1"),
            "covalent-common 0.240.0-1 here, 0.240.0-2 on the server",
        )

    def test_what_is_no_description_differs(self):
        self.assertIn("Python", environment.difference(SERVER, {}))

    def test_this_one_is_described(self):
        described = environment.describe()
        self.assertEqual(environment.difference(described, described), "")
        self.assertEqual(len(described["launcher"]), 64)


if __name__ == "__main__":
    unittest.main()
