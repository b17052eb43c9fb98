import os
import socket
import subprocess
import sys
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import launcher
from covalent_service import listener
from covalent_service.refusal import FAILED, Refusal

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:BB88 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  {uid}        0 777 1
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Bind(unittest.TestCase):
    def refusal(self, host, port):
        with self.assertRaises(Refusal) as refused:
            listener.bind(host, port)
        self.assertNotIn("\n", str(refused.exception))
        return refused.exception

    def test_listens_at_once(self):
        port = free_port()
        with listener.bind("localhost", port):
            socket.create_connection(("127.0.0.1", port)).close()

    def test_busy_port_names_the_port_and_its_process(self):
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            port = busy.getsockname()[1]
            for host, name in (("127.0.0.1", "127.0.0.1"), ("", "every address")):
                refusal = self.refusal(host, port)
                self.assertIn(f"port {port} on {name} is taken by", str(refusal))
                self.assertIn(f"process {os.getpid()} (", str(refusal))
                self.assertEqual(refusal.exit_code, FAILED)

    def test_every_address_is_one_of_either_protocol(self):
        port = free_port()
        with listener.bind("", port):
            for address in ("127.0.0.1", "::1"):
                socket.create_connection((address, port)).close()

    def test_every_address_of_a_kernel_without_ipv6(self):
        port = free_port()
        with (
            mock.patch("socket.has_dualstack_ipv6", return_value=False),
            listener.bind("", port) as bound,
        ):
            self.assertEqual(bound.getsockname(), ("0.0.0.0", port))

    def test_an_ipv6_address_is_that_one_alone(self):
        port = free_port()
        with listener.bind("::1", port), self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("::1", port)).close()
            socket.create_connection(("127.0.0.1", port))

    def test_a_name_of_either_protocol_means_ipv4(self):
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ]
        for names, address in ((found, "127.0.0.1"), (found[:1], "::1")):
            with (
                mock.patch("socket.getaddrinfo", return_value=names),
                listener.bind("localhost", 0) as bound,
            ):
                self.assertEqual(bound.getsockname()[0], address)

    def test_a_connection_that_has_the_port_is_named_and_what_to_do_about_it(self):
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as outgoing:
            outgoing.bind(("127.0.0.1", 0))
            outgoing.connect(server.getsockname())
            port = outgoing.getsockname()[1]
            refusal = self.refusal("127.0.0.1", port)
        self.assertIn(f"taken by a connection of process {os.getpid()} (", str(refusal))
        self.assertIn("net.ipv4.ip_local_reserved_ports", str(refusal))
        self.assertEqual(refusal.exit_code, FAILED)

    def test_foreign_address(self):
        refusal = self.refusal("192.0.2.1", free_port())
        self.assertIn("COVALENT_SERVER_IFACE_ANY=1", str(refusal))
        self.assertEqual(refusal.exit_code, FAILED)  # at boot it may soon be one

    def test_name_that_does_not_resolve(self):
        self.assertIn("host.invalid does not resolve", str(self.refusal("host.invalid", 1)))

    def test_machine_without_localhost(self):
        with mock.patch("socket.getaddrinfo", side_effect=socket.gaierror(-2, "unknown")):
            refusal = self.refusal("localhost", 48008)
        self.assertIn("'127.0.0.1 localhost' to /etc/hosts", str(refusal))
        self.assertEqual(refusal.exit_code, FAILED)

    def test_forked_child_does_not_keep_the_port(self):
        with listener.bind("127.0.0.1", free_port()) as bound:
            child = os.fork()
            if not child:
                try:
                    os.fstat(bound.fileno())
                except OSError:
                    os._exit(0)
                os._exit(1)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)


class Holder(unittest.TestCase):
    def proc(self, directory, state="0A", uid=12345):
        proc = Path(directory)
        (proc / "net").mkdir()
        (proc / "net/tcp").write_text(TABLE.format(state=state, uid=uid))
        return proc

    def test_process(self):
        with TemporaryDirectory() as directory:
            proc = self.proc(directory)
            (proc / "42/fd").mkdir(parents=True)
            (proc / "42/fd/3").symlink_to("socket:[777]")
            (proc / "42/cmdline").write_bytes(b"server\0--all\0")
            self.assertEqual(listener.holder(48008, proc), "process 42 (server --all)")

    def test_user_if_the_process_is_not_ours_to_see(self):
        with TemporaryDirectory() as directory:
            proc = self.proc(directory, uid=987654)
            self.assertEqual(listener.holder(48008, proc), "a process of user 987654")

    def test_a_connection_of_somebody_else(self):
        with TemporaryDirectory() as directory:
            proc = self.proc(directory, state="01", uid=987654)
            self.assertEqual(
                listener.holder(48008, proc), "a connection of a process of user 987654"
            )

    def test_connections_that_have_ended_do_not_count(self):
        with TemporaryDirectory() as directory:
            proc = self.proc(directory, state="06")
            self.assertEqual(listener.holder(48008, proc), "another process")


class Launcher(unittest.TestCase):
    def test_busy_port_touches_nothing(self):
        with socket.socket() as busy, TemporaryDirectory() as home:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            done = subprocess.run(
                [sys.executable, "-B", str(launcher.DIRECTORY)],
                env={"HOME": home, "COVALENT_SVC_PORT": str(busy.getsockname()[1])},
                capture_output=True,
                text=True,
                timeout=60,
            )
            self.assertEqual(done.returncode, 1)
            self.assertEqual(len(done.stderr.splitlines()), 1)
            self.assertIn("is taken by", done.stderr)
            self.assertEqual(os.listdir(home), [])

    def test_wrong_setting_is_one_line(self):
        done = subprocess.run(
            [sys.executable, "-B", str(launcher.DIRECTORY)],
            env={"HOME": "/nonexistent", "LOGLEVEL": "loud"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 78)
        self.assertEqual(len(done.stderr.splitlines()), 1)


if __name__ == "__main__":
    unittest.main()
