import socket
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import launcher  # noqa: F401
from covalent_service.notify import Notifier


class Notify(unittest.TestCase):
    def receive(self, address, send):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(address)
            send()
            systemd.settimeout(1)
            return systemd.recv(4096)

    def test_one_datagram_each(self):
        with TemporaryDirectory() as directory:
            address = str(Path(directory, "notify"))
            notifier = Notifier.taken_from({"NOTIFY_SOCKET": address})
            received = self.receive(address, lambda: notifier.send("READY=1"))
            self.assertEqual(received, b"READY=1")
            received = self.receive(address + "2", lambda: Notifier(address + "2").status("x"))
            self.assertEqual(received, b"STATUS=x")

    def test_abstract_socket(self):
        name = f"covalent-test-{id(self)}"
        received = self.receive("\0" + name, lambda: Notifier("@" + name).send("STOPPING=1"))
        self.assertEqual(received, b"STOPPING=1")

    def test_without_systemd_nothing_happens(self):
        notifier = Notifier.taken_from({})
        notifier.send("READY=1")
        self.assertEqual(notifier.watchdog, 0)

    def test_systemd_that_went_away_is_no_failure(self):
        Notifier("/nonexistent/notify").send("READY=1")

    def test_tasks_do_not_inherit_the_variables(self):
        environ = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
        notifier = Notifier.taken_from(environ)
        self.assertEqual(environ, {})
        self.assertEqual(notifier.watchdog, 3)


if __name__ == "__main__":
    unittest.main()
