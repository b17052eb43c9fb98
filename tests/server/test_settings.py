import json
import re
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import launcher  # noqa: F401
from covalent_service.refusal import NEEDS_ATTENTION, Refusal
from covalent_service.secrets import DATABASE
from covalent_service.settings import Settings

PROJECT = Path(__file__).parents[2]


def read(machine_name="localhost", **variables):
    return Settings.read({"HOME": "/srv/home", **variables}, lambda: machine_name)


class Defaults(unittest.TestCase):
    def test_are_those_of_covalent(self):
        settings = read()
        self.assertEqual((settings.bind_address, settings.port), ("localhost", 48008))
        self.assertEqual(settings.config_file, Path("/srv/home/.config/covalent/covalent.conf"))
        self.assertEqual(settings.data_dir, Path("/srv/home/.local/share/covalent/data"))
        self.assertEqual(settings.cache_dir, Path("/srv/home/.cache/covalent"))
        self.assertEqual(settings.log_dir, settings.cache_dir)
        self.assertEqual(
            settings.database_file, Path("/srv/home/.local/share/covalent/dispatcher_db.sqlite")
        )

    def test_of_what_does_not_outlive_a_run_is_the_folder_that_systemd_made(self):
        self.assertEqual(read().run_dir, Path("/srv/home/.cache/covalent"))
        self.assertEqual(read(RUNTIME_DIRECTORY="/run/a:/run/b").run_dir, Path("/run/a"))

    def test_are_closed(self):
        settings = read()
        self.assertFalse(settings.all_interfaces)
        self.assertFalse(settings.terminal)
        self.assertEqual(settings.dashboard, "")
        self.assertEqual(settings.local_group, "covalent-users")
        self.assertIsNone(settings.proxy_socket)

    def test_an_empty_group_is_everybody(self):
        for value, group in (("", ""), (" ", ""), ("physics", "physics")):
            self.assertEqual(read(COVALENT_LOCAL_GROUP=value).local_group, group)

    def test_follow_the_xdg_directories_as_covalent_does(self):
        settings = read(XDG_CONFIG_DIR="/c", XDG_CACHE_HOME="/k", XDG_DATA_HOME="/d")
        self.assertEqual(settings.config_file, Path("/c/covalent.conf"))
        self.assertEqual(settings.executor_dir, Path("/c/covalent/executor_plugins"))
        self.assertEqual(settings.cache_dir, Path("/k/covalent"))
        self.assertEqual(settings.database_file, Path("/d/covalent/dispatcher_db.sqlite"))

    def test_empty_value_is_no_value(self):
        self.assertEqual(read(COVALENT_SVC_PORT="", LOGLEVEL=" "), read())


class Values(unittest.TestCase):
    def test_wrong_ones_are_refused_with_name_value_and_what_is_accepted(self):
        for name, value, accepted in (
            ("COVALENT_SVC_PORT", "http", "from 1 to 65535"),
            ("COVALENT_SVC_PORT", "0", "from 1 to 65535"),
            ("COVALENT_SVC_PORT", "65536", "from 1 to 65535"),
            ("COVALENT_SVC_PORT", "-1", "from 1 to 65535"),
            ("LOGLEVEL", "loud", "DEBUG, INFO, WARNING, ERROR, CRITICAL"),
            ("COVALENT_SERVER_IFACE_ANY", "yes", "1, true, t (on) or 0, false, f (off)"),
            ("COVALENT_DISABLE_DASK", "maybe", "1, true, t (on)"),
            ("COVALENT_UI_TERMINAL", "on", "1, true, t (on)"),
            ("COVALENT_DISPATCHER_ADDR", "http://here", "without a scheme"),
            ("COVALENT_DISPATCHER_ADDR", "here:80", "without a port"),
            ("COVALENT_ALLOWED_HOSTS", "a.example, http://b.example", "list of host names"),
            ("COVALENT_DATA_DIR", "data", "an absolute path"),
            ("COVALENT_DATABASE", "db.sqlite", "an absolute path"),
            ("COVALENT_DISPATCHER_ADDR", "fe80::1", "none that is link-local"),
            ("COVALENT_FLEET_LISTEN", "[fe80::1]:48009", "none that is link-local"),
            ("COVALENT_DASK_DASHBOARD", "8787", "host:port"),
            ("COVALENT_DASK_DASHBOARD", "127.0.0.1:99999", "from 1 to 65535"),
            ("COVALENT_DASK_DASHBOARD", "0.0.0.0:8787", "COVALENT_SERVER_IFACE_ANY=1"),
            ("COVALENT_DASK_DASHBOARD", "server.example.org:8787", "127.0.0.1:8787"),
            ("COVALENT_DISPATCHER_ADDR", "[2001:db8::1", "an IP address"),
            ("COVALENT_HEARTBEAT_INTERVAL", "often", "a whole number"),
            ("COVALENT_ASSET_CACHE_SIZE", "big", "a whole number"),
            ("HOME", "", "HOME is not set"),
        ):
            with self.subTest(name=name, value=value):
                with self.assertRaises(Refusal) as refused:
                    read(**{name: value})
                message = str(refused.exception)
                self.assertIn(name, message)
                self.assertIn(accepted, message)
                self.assertIn(value, message)
                self.assertNotIn("\n", message)
                self.assertEqual(refused.exception.exit_code, NEEDS_ATTENTION)

    def test_a_dashboard_is_for_those_that_the_server_is_for(self):
        for place in ("127.0.0.1:8787", "localhost:8787", "[::1]:8787"):
            self.assertEqual(read(COVALENT_DASK_DASHBOARD=place).dashboard, place)
        place = "192.0.2.1:8787"
        everywhere = read("localhost", COVALENT_DASK_DASHBOARD=place, COVALENT_SERVER_IFACE_ANY="1")
        self.assertEqual(everywhere.dashboard, place)

    def test_a_byte_that_is_not_utf8_is_refused_by_name(self):
        for name in ("COVALENT_DATABASE", "XDG_DATA_HOME", "HOME", "LOGLEVEL"):
            with self.subTest(name), self.assertRaises(Refusal) as refused:
                read(**{name: "/srv/d\udcff"})
            self.assertIn(
                f"{name} has a byte that is not UTF-8: b'/srv/d\\xff'", str(refused.exception)
            )
            self.assertEqual(refused.exception.exit_code, NEEDS_ATTENTION)
        read(OTHER="\udcff", COVALENT_DATABASE="/srv/\u00fc")

    def test_symbolic_links_in_the_data_directory_are_followed(self):
        with TemporaryDirectory() as directory:
            real = Path(directory).resolve() / "real"
            real.mkdir()
            link = Path(directory) / "link"
            link.symlink_to(real)
            self.assertEqual(read(COVALENT_DATA_DIR=f"{link}/data").data_dir, real / "data")

    def test_a_circle_of_links_there_is_refused_by_name(self):
        with TemporaryDirectory() as directory:
            link = Path(directory) / "link"
            link.symlink_to(link)
            try:
                data = read(COVALENT_DATA_DIR=f"{link}/data").data_dir  # from Python 3.13 on
            except Refusal as refusal:
                self.assertIn(f"{link}/data", str(refusal))
            else:
                self.assertEqual(data, link / "data")


class Places(unittest.TestCase):
    """What is in `tests/places`, which the tests of covalentctl compare with what it thinks."""

    def test_are_those_that_covalentctl_knows(self):
        cases = sorted((PROJECT / "tests/places").iterdir())
        self.assertGreater(len(cases), 5)
        for case in cases:
            with self.subTest(case.name):
                lines = (case / "covalent.env").read_text().splitlines()
                environ = {**unit_environment(), **dict(line.split("=", 1) for line in lines)}
                settings = Settings.read(environ)
                found = {
                    # Covalent takes the address rather than the file.
                    "database": environ.get(DATABASE) or str(settings.database_file),
                    "data": str(settings.data_dir),
                    "configuration": str(settings.config_file),
                }
                self.assertEqual(found, json.loads((case / "expected.json").read_text()))


def unit_environment():
    unit = (PROJECT / "systemd/covalent.service").read_text()
    return dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))


class Address(unittest.TestCase):
    def test_of_the_server_is_bound_unless_all_interfaces_are(self):
        self.assertEqual(read(COVALENT_DISPATCHER_ADDR="192.0.2.1").bind_address, "192.0.2.1")
        settings = read(COVALENT_DISPATCHER_ADDR="192.0.2.1", COVALENT_SERVER_IFACE_ANY="T")
        self.assertEqual((settings.bind_address, settings.address), ("", "192.0.2.1"))

    def test_of_ipv6_has_brackets_in_what_clients_are_given(self):
        for given in ("2001:db8::1", "[2001:DB8:0::1]"):
            settings = read(COVALENT_DISPATCHER_ADDR=given, COVALENT_SVC_PORT="1")
            self.assertEqual(settings.url, "http://[2001:db8::1]:1")
            self.assertEqual(settings.bind_address, "2001:db8::1")

    def test_on_all_interfaces_is_the_name_of_the_machine(self):
        settings = read("127.0.0.1", COVALENT_SERVER_IFACE_ANY="1")
        self.assertEqual(settings.address, "127.0.0.1")

    def test_that_does_not_resolve_is_not_what_tasks_are_told(self):
        for name in ("host.invalid", "localhost.localdomain"):
            with self.subTest(name=name):
                settings = read(name, COVALENT_SERVER_IFACE_ANY="1")
                self.assertEqual(settings.address, "localhost")


class Export(unittest.TestCase):
    def test_says_it_as_covalent_understands_it(self):
        environ = {
            "HOME": "/srv/home",
            "COVALENT_DISABLE_DASK": "true",
            "COVALENT_SERVER_IFACE_ANY": "T",
            "COVALENT_DISPATCHER_ADDR": "",
            "COVALENT_LOGDIR": "",
            "LOGLEVEL": "info",
            "EMPTY": "",
        }
        Settings.read(environ, lambda: "127.0.0.1").export(environ)
        self.assertEqual(environ["COVALENT_DISABLE_DASK"], "1")
        self.assertEqual(environ["COVALENT_SERVER_IFACE_ANY"], "1")
        self.assertEqual(environ["COVALENT_DISPATCHER_ADDR"], "127.0.0.1")
        self.assertEqual(environ["COVALENT_SVC_PORT"], "48008")
        self.assertEqual(environ["LOGLEVEL"], "INFO")
        self.assertNotIn("COVALENT_LOGDIR", environ)
        self.assertIn("EMPTY", environ)
        self.assertEqual(environ["PYTHONUTF8"], "1")


if __name__ == "__main__":
    unittest.main()
