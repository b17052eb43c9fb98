import os
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import launcher
from covalent_service import listener, stored_socket
from covalent_service.notify import Notifier

TAKE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from covalent_service import stored_socket
print(len(stored_socket.taken_from(os.environ)))
print(any(os.get_inheritable(number) for number in (3, 4) if os.path.exists(f"/proc/self/fd/{number}")))
print(sorted(name for name in os.environ if name.startswith("LISTEN_")))
"""


class Taking(unittest.TestCase):
    def taken(self, process, *files):
        """What a process says that got those descriptors as systemd passes them."""
        numbers = [os.dup(file.fileno()) for file in files]
        moves = " ".join(f"{3 + place}<&{number}" for place, number in enumerate(numbers))
        script = f'LISTEN_PID={process} exec "$@" {moves}'
        try:
            return subprocess.run(
                ["bash", "-c", script, "bash", sys.executable, "-c", TAKE, str(launcher.DIRECTORY)],
                env={"LISTEN_FDS": str(len(files)), "LISTEN_FDNAMES": "listener"},
                pass_fds=numbers,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split("\n")[:3]
        finally:
            for number in numbers:
                os.close(number)

    def test_sockets_are_taken_and_passed_on_to_nobody(self):
        with socket.create_server(("127.0.0.1", 0)) as kept, tempfile.TemporaryFile() as file:
            self.assertEqual(self.taken("$$", kept, file), ["1", "False", "[]"])

    def test_what_is_for_another_process_is_left_alone(self):
        with socket.create_server(("127.0.0.1", 0)) as kept:
            self.assertEqual(self.taken("1", kept), ["0", "True", "[]"])

    def test_without_systemd_there_is_none(self):
        self.assertEqual(stored_socket.taken_from({}), [])


class Choosing(unittest.TestCase):
    def setUp(self):
        self.kept = socket.socket()
        self.addCleanup(self.kept.close)
        self.kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.kept.bind(("127.0.0.1", 0))
        self.kept.listen()
        self.port = self.kept.getsockname()[1]
        # What systemd goes on holding.
        self.passed = passed = socket.socket(fileno=os.dup(self.kept.fileno()))
        self.addCleanup(passed.close)

    def the_one_at(self, host, stored):
        return stored_socket.the_one_at(socket.AF_INET, (host, self.port), stored)

    def test_every_address_of_both_families(self):
        kept = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        address = ("::", kept.getsockname()[1])
        self.assertIs(stored_socket.the_one_at(socket.AF_INET6, address, [kept]), kept)
        self.assertIsNone(stored_socket.the_one_at(socket.AF_INET, address, [kept]))
        self.assertEqual(kept.fileno(), -1)

    def test_who_came_during_the_restart_is_answered(self):
        with socket.create_connection(("127.0.0.1", self.port)) as early:
            bound = listener.bind("127.0.0.1", self.port, [self.passed])
            self.addCleanup(bound.close)
            self.assertIs(bound, self.passed)
            accepted, _ = bound.accept()
            with accepted:
                accepted.sendall(b"answer")
                self.assertEqual(early.recv(6), b"answer")

    def test_another_port_or_address_counts_at_once(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            other = probe.getsockname()[1]
        for host, port in (("127.0.0.1", other), ("0.0.0.0", self.port), ("127.0.0.2", self.port)):
            with self.subTest(host=host, port=port):
                self.passed.close()
                self.setUp()
                port = self.port if port != other else other
                listener.bind(host, port, [self.passed]).close()
                self.assertEqual(self.passed.fileno(), -1)
                with self.assertRaises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", self.port))

    def test_nothing_else_is_taken_for_it(self):
        address = ("127.0.0.1", self.port)
        self.passed.close()
        self.kept.close()
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        datagrams = socket.socket(type=socket.SOCK_DGRAM)
        datagrams.bind(address)
        pair = socket.socketpair()
        for one in (bound, datagrams, *pair):
            self.assertIsNone(stored_socket.the_one_at(socket.AF_INET, address, [one]))
            self.assertEqual(one.fileno(), -1)

    def test_the_same_twice_is_taken_once(self):
        again = socket.socket(fileno=os.dup(self.kept.fileno()))
        chosen = self.the_one_at("127.0.0.1", [self.passed, again])
        self.addCleanup(self.passed.close)
        self.assertIs(chosen, self.passed)
        socket.create_connection(("127.0.0.1", self.port)).close()


class Storing(unittest.TestCase):
    def test_it_is_handed_to_systemd(self):
        with (
            tempfile.TemporaryDirectory() as directory,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
            socket.create_server(("127.0.0.1", 0)) as kept,
        ):
            address = str(Path(directory, "notify"))
            systemd.bind(address)
            stored_socket.store(Notifier(address), kept)
            message, descriptors, _, _ = socket.recv_fds(systemd, 4096, 2)
            self.assertEqual(message, b"FDSTORE=1\nFDNAME=listener")
            with socket.socket(fileno=descriptors[0]) as received:
                self.assertEqual(received.getsockname(), kept.getsockname())


if __name__ == "__main__":
    unittest.main()
