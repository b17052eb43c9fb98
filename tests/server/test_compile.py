"""The compilation of an environment's modules."""

import subprocess
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import launcher

# As the kernel does when it is out of memory.
KILLED = """
import importlib, os, signal, sys
sys.path.insert(0, {server!r})
script = importlib.import_module("compile")
script.py_compile.compile = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(script.main({library!r}))
"""


class Compile(unittest.TestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.packages = Path(directory.name) / "lib/python3/site-packages"
        for name in ("a/first.py", "a/second.py", "a/tests/test_first.py", "b.py"):
            file = self.packages / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("x = 1\n")
        (self.packages / "a/template.py").write_text("class {{ name }}:\n")

    def run_script(self, *arguments):
        script = launcher.DIRECTORY / "compile.py"
        library = self.packages.parents[1]
        return subprocess.run(
            [sys.executable, "-I", "-S", "-B", script, library, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def compile(self, *arguments):
        done = self.run_script(*arguments)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        found = self.packages.rglob("*.pyc")
        return {file.name.partition(".")[0]: file.stat().st_mtime_ns for file in found}

    def test_what_the_list_names_and_then_the_rest(self):
        names = self.packages / "list.txt"
        names.write_text("a/first.py\nnot/there.py\n")
        first = self.compile(names)
        self.assertEqual(list(first), ["first"])
        every = self.compile()
        self.assertEqual(sorted(every), ["b", "first", "second"])
        self.assertEqual(every["first"], first["first"], "what is compiled is left alone")

    def test_an_import_takes_the_bytecode(self):
        self.compile()
        code = f"import sys; sys.path.insert(0, {str(self.packages)!r}); import b"
        done = subprocess.run(
            [sys.executable, "-B", "-v", "-c", code], capture_output=True, text=True, timeout=60
        )
        bytecode = next((self.packages / "__pycache__").glob("b.*"))
        self.assertIn(f"# code object from '{bytecode}'", done.stderr)

    def test_a_file_that_cannot_be_written_is_named_in_one_line(self):
        (self.packages / "a/__pycache__").write_text("no folder")
        done = self.run_script()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"^/\S+/a/(first|second)\.py: \[Errno \d+\] .*\n$")

    def test_a_process_that_is_killed_is_a_failure_and_not_waited_for(self):
        killed = KILLED.format(server=str(launcher.DIRECTORY), library=str(self.packages))
        done = subprocess.run(
            [sys.executable, "-B", "-c", killed], capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"^a compiling process was killed.*\n$")


if __name__ == "__main__":
    unittest.main()
