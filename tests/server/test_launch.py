"""How a launcher ends."""

import subprocess
import sys
import unittest

import launcher

PROGRAM = """
import os, socket, sys
sys.path.append(sys.argv[1])
from covalent_service import launch
from covalent_service.refusal import Refusal

def work(notifier):
    {}

os.environ["NOTIFY_SOCKET"] = "@covalent-test-" + str(os.getpid())
systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
systemd.bind("\\0" + os.environ["NOTIFY_SOCKET"][1:])
systemd.setblocking(False)
code = launch.run(work, "server")
try:
    print(systemd.recv(1000).decode())
except BlockingIOError:
    pass
launch.leave(code)
"""


class End(unittest.TestCase):
    def end(self, work):
        program = [sys.executable, "-B", "-I", "-c", PROGRAM.format(work), launcher.DIRECTORY]
        ended = subprocess.run(program, capture_output=True, text=True, timeout=30)
        return ended.returncode, ended.stdout, ended.stderr

    def test_the_code_of_what_was_done_is_its_own(self):
        self.assertEqual(self.end("return 80"), (80, "", ""))

    def test_who_is_stopped_has_not_failed(self):
        self.assertEqual(self.end("raise KeyboardInterrupt"), (0, "", ""))

    def test_a_refusal_is_said_in_the_journal_and_in_the_status_without_a_traceback(self):
        refused = self.end("raise Refusal('the port is taken.\\nStop the other', 78)")
        status = "STATUS=the port is taken. Stop the other\n"
        self.assertEqual(refused, (78, status, "covalent: the port is taken.\nStop the other\n"))

    def test_whatever_else_goes_wrong_is_told_with_its_place(self):
        code, _, said = self.end("return 1 / 0")
        self.assertEqual(code, 1)
        self.assertTrue(said.startswith("covalent: the server failed\nTraceback"), said)
        self.assertIn("ZeroDivisionError", said)

    def test_a_thread_that_goes_on_does_not_hold_it_up(self):
        thread = "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()"
        self.assertEqual(self.end(f"{thread}; return 7"), (7, "", ""))


if __name__ == "__main__":
    unittest.main()
