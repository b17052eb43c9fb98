import os
import socket
import stat
import tempfile
import unittest
from pathlib import Path

import launcher  # noqa: F401
from covalent_service import proxy_socket


class ProxySocket(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "socket")

    def bind(self, *stored):
        listener = proxy_socket.bind(self.path, list(stored))
        self.addCleanup(listener.close)
        return listener

    def reaches(self, listener):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))
            listener.accept()[0].close()

    def test_the_folders_group_may_open_it_and_nobody_else(self):
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.reaches(self.bind())
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o660)

    def test_what_a_server_left_that_was_stopped_is_replaced(self):
        self.bind().close()
        self.reaches(self.bind())

    def test_what_systemd_kept_goes_on(self):
        first = self.bind()
        kept = socket.socket(fileno=os.dup(first.fileno()))
        first.close()
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(str(self.path))
            self.assertIs(self.bind(kept), kept)
            kept.accept()[0].close()

    def test_but_not_where_nobody_finds_it_any_more(self):
        first = self.bind()
        kept = socket.socket(fileno=os.dup(first.fileno()))
        first.close()
        self.path.unlink()
        self.reaches(self.bind(kept))
        self.assertEqual(kept.fileno(), -1)

    def test_nor_where_another_path_or_none_is_set(self):
        for path in (self.path.with_name("socket2"), None):
            kept = socket.socket(fileno=os.dup(self.bind().fileno()))
            bound = proxy_socket.bind(path, [kept])
            self.assertEqual(kept.fileno(), -1)
            if bound:
                bound.close()

    def test_without_its_folder_the_server_goes_on_and_says_so(self):
        path = self.path.parent / "missing/socket"
        with self.assertLogs("covalent_service") as logged:
            self.assertIsNone(proxy_socket.bind(path, []))
        self.assertIn(f"{path} for the proxy cannot be made (No such file", logged.output[0])

    def test_what_is_no_socket_is_left_alone(self):
        self.path.write_text("mine")
        with self.assertLogs("covalent_service"):
            self.assertIsNone(proxy_socket.bind(self.path, []))
        self.assertEqual(self.path.read_text(), "mine")


if __name__ == "__main__":
    unittest.main()
