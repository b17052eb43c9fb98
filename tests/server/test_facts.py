"""What stands in several files, since each needs it in its own form, is the same in all of them."""

import re
import unittest
from pathlib import Path

import launcher  # noqa: F401
from covalent_service.settings import DEFAULT_FLEET_LISTEN, DEFAULT_PORT
from covalent_service.worker_settings import DEFAULT_PORTS

PROJECT = Path(__file__).parents[2]


def read(file):
    return (PROJECT / file).read_text()


def only(pattern, file):
    """What the group in this pattern matches in a file, which is one thing only."""
    found = set(re.findall(pattern, read(file), re.MULTILINE))
    assert len(found) == 1, f"{file}: {pattern}: {found}"
    return found.pop()


class Pythons(unittest.TestCase):
    """`SUPPORTED` of src/environment/interpreter.rs."""

    def test_are_the_same_everywhere(self):
        oldest, newest = only(
            r"SUPPORTED: RangeInclusive<u32> = (\d+)\.\.=(\d+);", "src/environment/interpreter.rs"
        )
        minors = range(int(oldest), int(newest) + 1)
        span = r"3\.\d+ to 3\.\d+"
        for file, pattern, expected in (
            ("scripts/wheels/lock.py", r"^PYTHONS = (.*)$", [f"3.{minor}" for minor in minors]),
            ("scripts/update-lock", r"^OLDEST_PYTHON=(.*)$", f"3.{oldest}"),
            ("Cargo.toml", rf"CPython ({span})", f"3.{oldest} to 3.{newest}"),
            ("systemd/covalentctl.toml", rf"Python ({span})", f"3.{oldest} to 3.{newest}"),
            ("README.md", rf"CPython ({span})", f"3.{oldest} to 3.{newest}"),
            ("tests/plugins/run", rf"CPython ({span})", f"3.{oldest} to 3.{newest}"),
        ):
            with self.subTest(file):
                found = only(pattern, file)
                self.assertEqual(found.replace('"', "'"), str(expected))
        triggers = re.findall(r"/usr/bin/python3\.(\d+)", read("debian/covalent-common/triggers"))
        self.assertEqual([int(minor) for minor in triggers], list(minors))


class Port(unittest.TestCase):
    """`DEFAULT_PORT` of server/covalent_service/settings.py."""

    def test_is_the_same_everywhere(self):
        for file, pattern in (
            ("systemd/covalent.env", r"^#COVALENT_SVC_PORT=(\d+)$"),
            ("src/service/address.rs", r'DEFAULT_PORT: &str = "(\d+)"'),
            ("README.md", r"<http://localhost:(\d+)>"),
            ("firewall/covalent.xml", r'port="(\d+)"'),
            ("firewall/ufw", r"\[Covalent\]\n(?:.*\n)*?ports=(\d+)/tcp"),
        ):
            with self.subTest(file):
                self.assertEqual(only(pattern, file), str(DEFAULT_PORT))


class PortsOfTheFleet(unittest.TestCase):
    """`DEFAULT_FLEET_LISTEN` of the server's settings, and `DEFAULT_PORTS` of a worker's."""

    def test_the_servers_is_the_same_everywhere(self):
        port = DEFAULT_FLEET_LISTEN.rpartition(":")[2]
        for file, pattern in (
            ("systemd/covalent.env", r"^#COVALENT_FLEET_LISTEN=\[::\]:(\d+)$"),
            ("systemd/worker.env", r"^#COVALENT_SERVER=\S+:(\d+)$"),
            ("src/fleet/place.rs", r"DEFAULT_PORT: u16 = (\d+);"),
            ("src/cli/worker.rs", r"COVALENT_FLEET_LISTEN, port (\d+)"),
            ("src/doctor/fleet.rs", r"in at TCP port (\d+)"),
            ("firewall/covalent-fleet.xml", r'port="(\d+)"'),
            ("firewall/ufw", r"\[Covalent Fleet\]\n(?:.*\n)*?ports=(\d+)/tcp"),
        ):
            with self.subTest(file):
                self.assertEqual(only(pattern, file), port)

    def test_a_workers_are_the_same_everywhere(self):
        ports = [str(DEFAULT_PORTS[0]), str(DEFAULT_PORTS[-1])]
        for file, pattern in (
            ("systemd/worker.env", r"^#COVALENT_WORKER_PORTS=(\d+-\d+)$"),
            ("src/doctor/network.rs", r"WORKER_PORTS: RangeInclusive<u16> = (\d+\.\.=\d+);"),
            ("src/doctor/fleet.rs", r"in at ports (\d+-\d+)"),
            ("src/doctor/fleet.rs", r"to any port (\d+:\d+)"),
            ("src/doctor/fleet.rs", r"--add-port=(\d+-\d+)/tcp"),
        ):
            with self.subTest(file):
                self.assertEqual(re.findall(r"\d+", only(pattern, file)), ports)


class PortOfHttps(unittest.TestCase):
    """`DEFAULT_PORT` of src/https/settings.rs."""

    def test_is_the_same_everywhere(self):
        port = only(r"DEFAULT_PORT: u16 = (\d+);", "src/https/settings.rs")
        for file, pattern in (
            ("systemd/https/https.env", r"^#COVALENT_HTTPS_PORT=(\d+)$"),
            ("tests/workflows/https.py", r'"--port", type=int, default=(\d+)'),
            ("docs/access.md", r"https://server.example.org:(\d+)"),
            ("firewall/covalent-https.xml", r'port="(\d+)"'),
            ("firewall/ufw-https", r"ports=(\d+)/tcp"),
        ):
            with self.subTest(file):
                self.assertEqual(only(pattern, file), port)


class Version(unittest.TestCase):
    """The newest one of debian/changelog."""

    def test_is_the_same_everywhere(self):
        newest = only(r"\A\S+ \((.*?)\)", "debian/changelog")
        self.assertEqual(only(r'^version = "(.*)"$', "Cargo.toml"), newest.partition("-")[0])
        # scripts/build puts it between the packages. What they replace is of a version before it.
        packages = re.sub(r"^(breaks|replaces|conflicts) = .*$", "", read("Cargo.toml"), flags=re.M)
        self.assertNotIn(newest, packages)
        self.assertEqual(only(r"covalent\S*[_-](\d[0-9.-]*\d)[_.]\*\.", "README.md"), newest)


if __name__ == "__main__":
    unittest.main()
