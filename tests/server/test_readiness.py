"""Asking the server, as the watchdog does."""

import os
import resource
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import launcher  # noqa: F401
from covalent_service.notify import Notifier
from covalent_service.readiness import Readiness

# select(2) takes none from this one on.
DESCRIPTOR_LIMIT = 1024


class Good(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Ask(unittest.TestCase):
    def setUp(self):
        server = HTTPServer(("127.0.0.1", 0), Good)
        self.addCleanup(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        settings = SimpleNamespace(url="http://127.0.0.1")
        self.readiness = Readiness(settings, server.socket, Notifier(), lambda: None, self.fail)

    def use_up_low_descriptors(self):
        _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * DESCRIPTOR_LIMIT), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        while (taken := os.open(os.devnull, os.O_RDONLY)) < DESCRIPTOR_LIMIT:
            self.addCleanup(os.close, taken)
        self.addCleanup(os.close, taken)

    def test_busy_server_has_many_descriptors(self):
        self.use_up_low_descriptors()
        self.assertEqual(self.readiness._ask(10, answered=time.time()), "200")


if __name__ == "__main__":
    unittest.main()
