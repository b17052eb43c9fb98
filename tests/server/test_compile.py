"""The compilation of an environment's modules."""

import importlib
import importlib.machinery
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import launcher

script = importlib.import_module("compile")  # the launcher's, by its path

# As the kernel does when it is out of memory.
KILLED = """
import importlib, os, signal, sys
sys.path.insert(0, {server!r})
script = importlib.import_module("compile")
script.py_compile.compile = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(script.main([{library!r}]))
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

    def test_a_share_of_what_the_list_names_and_then_the_rest(self):
        names = self.packages / "list.txt"
        names.write_text("b.py\na/first.py\nnot/there.py\n")
        first = self.compile("--loaded", names, "--share", "0.3")
        self.assertEqual(list(first), ["b"])
        loaded = self.compile("--loaded", names, "--share", "1")
        self.assertEqual(sorted(loaded), ["b", "first"])
        every = self.compile("--loaded", names)
        self.assertEqual(sorted(every), ["b", "first", "second"])
        self.assertEqual(every["b"], first["b"], "what is compiled is left alone")

    def test_the_launcher_whose_bytecode_is_taken_for_the_same_text_alone(self):
        names = self.packages / "list.txt"
        names.write_text("")
        module = Path(self.packages.parents[2]) / "server/own.py"
        module.parent.mkdir()
        module.write_text("print(1)\n")
        self.compile(module.parent, "--loaded", names, "--share", "1")
        (bytecode,) = module.parent.glob("__pycache__/own.*")
        code = f"import sys; sys.path.insert(0, {str(module.parent)!r}); import own"

        def imported():
            command = [sys.executable, "-B", "-v", "-c", code]
            return subprocess.run(command, capture_output=True, text=True, timeout=60)

        same = imported()
        self.assertIn(f"# code object from '{bytecode}'", same.stderr)
        # A package's files have the time of its build: another text may have the same, and the same size.
        status = module.stat()
        module.write_text("print(2)\n")
        os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.assertEqual((same.stdout, imported().stdout), ("1\n", "2\n"))

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


class Ahead(unittest.TestCase):
    """What is compiled while wheels are fetched."""

    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.unpacked = self.root / "cache" / script.UNPACKED
        self.packages = self.root / "lib/python3/site-packages"
        self.prepared = self.root / "prepared"
        for folder in (self.unpacked, self.packages, self.prepared):
            folder.mkdir(parents=True)
        self.under_way = self.prepared / script.UNDER_WAY
        self.under_way.touch()

    def unpack(self, wheel, **modules):
        """As uv does: the folder appears as a whole."""
        draft = self.root / "draft"
        draft.mkdir()
        for name, text in modules.items():
            (draft / f"{name}.py").write_text(text)
        draft.rename(self.unpacked / wheel)

    def run_ahead(self, **wheels):
        time.sleep(0.02)  # the kernel's clock goes by steps
        self.under_way.touch()
        # Before the process has begun, as uv may do.
        for wheel, modules in wheels.items():
            self.unpack(wheel, **modules)
        process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", "-B", launcher.DIRECTORY / "compile.py"),
                *("--ahead", self.root / "cache", "--prepared", self.prepared),
            ]
        )
        with process:
            expected = {name for modules in wheels.values() for name in modules}
            deadline = time.monotonic() + 30
            while not {path.stem for path in self.prepared.glob("*.pyc")} >= expected:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            self.under_way.unlink()
        self.assertEqual(process.returncode, 0)

    def install(self, wheel, *names):
        for name in names:
            os.link(self.unpacked / wheel / f"{name}.py", self.packages / f"{name}.py")

    def take(self):
        self.assertEqual(script.compile_all([str(self.root / "lib")], [], True, self.prepared), "")
        bytecode = self.packages / "__pycache__"
        return {path.name.partition(".")[0]: path for path in bytecode.iterdir()}

    def test_it_is_taken_where_it_is_the_modules_own(self):
        self.unpack("old", before="x = 1\n")
        self.run_ahead(one={"a": "x = 1\n", "b": "x = 1\n"})
        self.assertFalse((self.prepared / "before.pyc").exists())
        self.install("one", "a")
        (self.packages / "b.py").write_text("x = 'another'\n")
        ours = (self.prepared / "a.pyc").stat().st_ino
        theirs = (self.prepared / "b.pyc").stat().st_ino
        taken = self.take()
        self.assertEqual(taken["a"].stat().st_ino, ours)
        self.assertNotEqual(taken["b"].stat().st_ino, theirs)
        loaded = importlib.machinery.SourcelessFileLoader("b", str(taken["b"])).get_code("b")
        self.assertIn("another", loaded.co_consts)

    def test_what_two_wheels_have_is_not_taken(self):
        self.run_ahead(one={"a": "x = 1\n"}, two={"a": "x = 2\n", "c": "x = 3\n"})
        self.assertEqual([path.name for path in self.prepared.glob("*.pyc")], ["c.pyc"])

    def test_it_ends_with_the_process_that_wanted_it(self):
        code = (
            "import subprocess, sys, time; child = subprocess.Popen(sys.argv[1:], stdout=2); "
            "print(child.pid); time.sleep(1)"
        )
        words = [sys.executable, "-I", "-S", "-B", str(launcher.DIRECTORY / "compile.py")]
        words += ["--ahead", str(self.root / "cache"), "--prepared", str(self.prepared)]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True, timeout=60
        )
        child = Path("/proc", done.stdout.strip())
        deadline = time.monotonic() + 30
        while child.exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
