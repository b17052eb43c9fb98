"""What scripts/run-tests leaves when it is ended: nothing."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/run-tests"
LIMIT = 30  # seconds; it takes less than one

# As a machine has it: a supervisor in a group of its own, which cleans up when its owner is gone. The owner
# waits for a child that no signal to it reaches.
TEST = """
mkfifo $0.lifeline
setsid sh -c 'echo $$ >>pids; cat $0.lifeline; sleep 0.3; rm $0.machine' $0 &
exec 9>$0.lifeline
touch $0.machine
echo $$ >>pids
sh -c 'echo $$ >>pids; sleep 60 9>&-; true' 9>&-
"""

# A machine of its own, and something that the test has run in it: the machine's end waits for somebody to ask
# how that ended.
INSIDE = """
mkfifo $0.lifeline
touch $0.machine
setsid sh -c '
    echo $$ >>pids
    unshare --pid --fork --kill-child sleep 60 &
    echo $! >$0.unshare
    cat $0.lifeline
    kill -KILL $!
    wait $!
    rm $0.machine' $0 &
exec 9>$0.lifeline
until inside=$(pgrep --parent "$(cat $0.unshare)"); do sleep 0.05; done
echo $$ >>pids
nsenter --target "$inside" --pid setsid sh -c 'touch inside; sleep 60' 9>&-
"""


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Ended(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name in ("scripts", "tests", "bin"):
            (self.folder / name).mkdir()
        shutil.copy(SCRIPT, self.folder / "scripts/run-tests")
        (self.folder / "tests/longest").touch()
        # There is nothing to compile.
        cargo = self.folder / "bin/cargo"
        cargo.write_text("#!/bin/sh\n")
        cargo.chmod(0o755)
        (self.folder / "test").write_text(TEST)
        (self.folder / "inside-test").write_text(INSIDE)
        self.addCleanup(self.kill)

    def kill(self):
        for process in self.pids():
            if is_alive(process):
                os.kill(process, signal.SIGKILL)

    def start(self, *tests):
        beside = [f"--beside={test}" for test in tests]
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        process = subprocess.Popen(
            [self.folder / "scripts/run-tests", *beside],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": path},
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, condition):
        deadline = time.monotonic() + LIMIT
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def pids(self):
        file = self.folder / "pids"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def test_a_signal_to_it_alone_ends_what_it_runs_and_is_waited_out(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                process = self.start("one=sh test one", "two=sh test two", "three=sleep 60")
                self.wait_for(lambda: len(self.pids()) == 6)
                self.assertTrue(all(map(is_alive, self.pids())))
                process.send_signal(number)
                said, _ = process.communicate(timeout=LIMIT)
                self.assertEqual(process.returncode, -number, said)
                # Whatever was ended has not failed.
                self.assertEqual(said, "ending what runs\n")
                self.assertEqual([pid for pid in self.pids() if is_alive(pid)], [])
                self.assertEqual(list(self.folder.glob("*.machine")), [])
                for file in (*self.folder.glob("*.lifeline"), self.folder / "pids"):
                    file.unlink()

    @unittest.skipUnless(os.geteuid() == 0, "makes a namespace, which is root's to do")
    def test_what_ran_in_a_machine_does_not_keep_it(self):
        process = self.start("one=sh inside-test one")
        self.wait_for((self.folder / "inside").exists)
        process.terminate()
        said, _ = process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, -signal.SIGTERM, said)
        self.assertEqual([pid for pid in self.pids() if is_alive(pid)], [])
        self.assertEqual(list(self.folder.glob("*.machine")), [])

    def test_left_alone_it_says_which_tests_have_passed(self):
        process = self.start("one=true", "two=false", "three=echo said; exit 3")
        said, _ = process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 1, said)
        self.assertIn("1 of 3 tests have passed\nthese have failed:\n", said)
        self.assertIn("said\n\nFAILED", said)


if __name__ == "__main__":
    unittest.main()
