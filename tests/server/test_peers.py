"""Who holds the other end of a connection: real sockets, and the kernel's real answers."""

import os
import socket
import struct
import threading
import unittest
from ipaddress import ip_address
from unittest import mock

import launcher  # noqa: F401
from covalent_service import peers
from covalent_service.peers import Connection, End
from covalent_service.refusal import NEEDS_ATTENTION, Refusal

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


class Pair:
    """A connection to a listener of its own, both ends in this process."""

    def __init__(self, test, family=socket.AF_INET, host="127.0.0.1", to="", port=0):
        test.addCleanup(self.close)
        self.listener = socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")
        self.connect(to or host, port)

    def connect(self, to, port=0):
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        self.client = socket.socket(family)
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if port:
            self.client.bind((to, port))
        self.client.connect((to, self.listener.getsockname()[1]))
        self.near, _ = self.listener.accept()
        self.connection = Connection(self.near, lambda: self.near.fileno() < 0)

    def reset(self):
        """Close the client's end at once, and keep nothing of it."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.client.close()

    def close(self):
        for one in (self.client, self.near, self.listener):
            one.close()


class Held(unittest.TestCase):
    def account(self, *arguments, **options):
        return Pair(self, *arguments, **options).connection.account()

    def test_by_this_account(self):
        for family, host, to in (
            (socket.AF_INET, "127.0.0.1", ""),
            (socket.AF_INET, "0.0.0.0", "127.0.0.2"),
            (socket.AF_INET6, "::1", ""),
            (socket.AF_INET6, "::", "127.0.0.1"),
            (socket.AF_INET6, "::", "::1"),
            (socket.AF_INET6, "::", "::ffff:127.0.0.1"),
        ):
            with self.subTest(host=host, to=to):
                self.assertEqual(self.account(family, host, to), os.geteuid())

    def test_by_whoever_has_ended_what_it_sends_and_waits_for_an_answer(self):
        pair = Pair(self)
        pair.client.shutdown(socket.SHUT_WR)
        self.assertEqual(pair.connection.account(), os.geteuid())

    def test_many_at_once(self):
        wrong = []

        def ask():
            for _ in range(50):
                with socket.create_server(("127.0.0.1", 0)) as listener:
                    with socket.create_connection(listener.getsockname()):
                        near, _ = listener.accept()
                        with near:
                            if Connection(near, lambda: False).account() != os.geteuid():
                                wrong.append(1)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


class Abandoned(unittest.TestCase):
    """What was sent by somebody who is gone is nobody's, whoever has the port by then."""

    def test_closed(self):
        pair = Pair(self)
        pair.client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        pair.client.close()
        self.assertIsNone(pair.connection.account())

    def test_reset(self):
        pair = Pair(self)
        pair.client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        pair.reset()
        self.assertIsNone(pair.connection.account())
        self.assertEqual(pair.near.recv(3), b"GET", "it is not read all the same")

    def test_accepted_after_it_was_reset(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            near, _ = listener.accept()
            with near:
                self.assertIsNone(Connection(near, lambda: False).account())

    def test_and_the_port_is_listened_at(self):
        pair = Pair(self)
        port = pair.client.getsockname()[1]
        pair.reset()
        with socket.create_server(("127.0.0.1", port)):
            self.assertIsNone(pair.connection.account())

    def test_and_the_port_is_another_connections(self):
        first = Pair(self)
        client, near = first.client, first.near
        self.addCleanup(near.close)
        stale, port = first.connection, client.getsockname()[1]
        first.reset()
        first.connect("127.0.0.1", port)
        self.assertEqual(first.connection.account(), os.geteuid())
        self.assertEqual(near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1), b"\7")
        self.assertIsNone(stale.account())
        # That is what it would be taken for if its own end were not looked at.
        self.assertEqual(peers._owner(stale.client, stale._server), os.geteuid())

    def test_and_so_is_this_end(self):
        pair = Pair(self)
        pair.near.close()
        self.assertIsNone(pair.connection.account())


class Unknown(unittest.TestCase):
    def test_an_account_of_another_user_namespace_is_nobodys(self):
        for others, expected in ((os.geteuid(), None), (None, os.geteuid()), (65533, os.geteuid())):
            with self.subTest(others=others):
                with mock.patch.object(peers, "_anybody", lambda others=others: others):
                    self.assertEqual(Pair(self).connection.account(), expected)

    def test_a_kernel_that_does_not_tell_is_refused_with_what_to_type(self):
        peers.check()
        with (
            mock.patch.object(peers, "NETLINK_SOCK_DIAG", 30),
            self.assertRaises(Refusal) as refused,
        ):
            peers.check()
        self.assertIn("modprobe tcp_diag", str(refused.exception))
        self.assertEqual(refused.exception.exit_code, NEEDS_ATTENTION)


class Here(unittest.TestCase):
    def test_is_every_address_of_this_machine_and_no_other(self):
        for address, is_here in (
            ("127.0.0.1", True),
            ("127.8.9.10", True),
            ("::1", True),
            ("192.0.2.1", False),
            ("2001:db8::1", False),
            ("10.255.255.1", False),
        ):
            with self.subTest(address):
                self.assertEqual(End(ip_address(address), 1).is_here, is_here)

    def test_ends_are_read_as_python_has_them(self):
        mapped = End.of(("::ffff:192.0.2.7", 5, 0, 0))
        self.assertEqual(mapped, End(ip_address("192.0.2.7"), 5))
        self.assertEqual(End.of(("fe80::1%lo", 5, 0, 3)), End(ip_address("fe80::1"), 5, 3))
        self.assertEqual(End.of(("2001:db8::1", 5, 0, 3)), End(ip_address("2001:db8::1"), 5))


if __name__ == "__main__":
    unittest.main()
