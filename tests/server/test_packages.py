import os
import subprocess
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import launcher  # noqa: F401
from covalent_service import packages


class Pip(unittest.TestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.prefix = Path(directory.name)
        self.environ = {"HOME": "/srv/home"}

    def environment(self, *arguments, **variables):
        return packages.pip_environment(list(arguments), {**self.environ, **variables})

    def test_installs_below_the_home(self):
        new = self.environment("install", "package")
        self.assertEqual(new["PIP_PREFIX"], "/srv/home/site")
        self.assertTrue(new["PYTHONPATH"].startswith("/srv/home/site/lib"))
        self.assertEqual(new["PIP_DISABLE_PIP_VERSION_CHECK"], "1")

    def arguments(self, *arguments, wheels=Path("/nonexistent")):
        return packages.pip_arguments(list(arguments), self.prefix, wheels)

    def test_obeys_the_constraints_of_the_environment_if_there_are_any(self):
        self.assertEqual(self.arguments("install", "x"), ["install", "x"])
        (self.prefix / "constraints.txt").touch()
        expected = ["install", "--constraint", f"{self.prefix}/constraints.txt", "x"]
        self.assertEqual(self.arguments("install", "x"), expected)
        self.assertEqual(self.arguments("list"), ["list"])

    def test_finds_the_wheels_that_no_index_has(self):
        expected = ["install", "--find-links", str(self.prefix), "x"]
        self.assertEqual(self.arguments("install", "x", wheels=self.prefix), expected)

    def test_leaves_the_variables_to_the_administrator_and_to_pip_conf(self):
        (self.prefix / "constraints.txt").touch()
        new = self.environment("install")
        self.assertFalse({"PIP_CONSTRAINT", "PIP_FIND_LINKS"} & new.keys())

    def test_what_the_administrator_says_wins(self):
        (self.prefix / "constraints.txt").touch()
        said = {
            "PIP_TARGET": "/srv/packages",
            "PIP_CONSTRAINT": "/srv/constraints.txt",
            "PIP_FIND_LINKS": "/srv/wheels",
            "PIP_DISABLE_PIP_VERSION_CHECK": "0",
        }
        new = self.environment("install", **said)
        self.assertLessEqual(said.items(), new.items())
        self.assertNotIn("PIP_PREFIX", new)
        self.assertEqual(packages.directories(said), ["/srv/packages"])

    def test_what_the_task_says_wins(self):
        for option in ("--target=/x", "-t", "--prefix", "--user", "--root"):
            with self.subTest(option=option):
                self.assertNotIn("PIP_PREFIX", self.environment("install", option, "package"))

    def test_other_commands_install_nowhere(self):
        new = self.environment("list")
        self.assertNotIn("PIP_PREFIX", new)
        self.assertIn("/srv/home/site", new["PYTHONPATH"])


class Announce(unittest.TestCase):
    def test_own_commands_come_first_and_once(self):
        environ = {"PATH": "/usr/bin:/bin"}
        packages.announce(environ)
        packages.announce(environ)
        own = [str(packages.OWN_COMMANDS), f"{sys.prefix}/bin"]
        self.assertEqual(environ["PATH"].split(":"), [*own, "/usr/bin", "/bin"])
        self.assertEqual(environ["VIRTUAL_ENV"], sys.prefix)

    def test_pip_is_executable(self):
        self.assertTrue(os.access(packages.OWN_COMMANDS / "pip", os.X_OK))

    def test_pip_is_the_pip_of_this_python(self):
        with TemporaryDirectory() as home:
            environ = {"HOME": home}
            packages.announce(environ)
            done = subprocess.run(
                ["pip", "--version"],
                env=environ,
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
        self.assertIn(f"(python {sys.version_info.major}.{sys.version_info.minor})", done.stdout)


class Importable(unittest.TestCase):
    def test_after_everything_else(self):
        before = list(sys.path)
        self.addCleanup(setattr, sys, "path", before)
        sys.path = list(before)
        packages.make_importable(["/srv/home/site/packages"])
        packages.make_importable(["/srv/home/site/packages"])
        self.assertEqual(sys.path, [*before, "/srv/home/site/packages"])


if __name__ == "__main__":
    unittest.main()
