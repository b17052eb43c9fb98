"""Every variable of covalent.env takes effect at the next start after it was changed.

A server is started once with none of them, and then again and again with some of them
changed, each beside others that do not disturb it. No effect may be there from the first.
"""

import json
import re
import socket
import sqlite3
import unittest
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

from fleet import Authority
from served import LAUNCHER, Served, free_port
from test_service import terminal

FILE = LAUNCHER.parent / "systemd/covalent.env"

# What a task of the server sees, which may be a client itself.
SEEN = """
import json
import covalent as ct

@ct.electron(executor={executor!r})
def seen():
    import json, os, tempfile
    import covalent as ct
    from covalent._api.apiclient import CovalentAPIClient
    from covalent._dispatcher_plugins import local
    from covalent._shared_files.config import get_config
    from covalent._workflow.electron import _build_sublattice_graph

    @ct.electron(executor="local")
    def one(numbers): return numbers

    @ct.lattice
    def inner(number): return one([number])

    inner.build_graph(1)
    graph = inner.transport_graph
    names = {{node: graph.get_node_value(node, "name") for node in graph._graph.nodes}}
    groups = {{
        graph.get_node_value(node, "task_group_id")
        for node, name in names.items() if name == "one" or "list" in name
    }}
    os.environ["COVALENT_DISPATCHER_URL"] = "http://localhost:1"
    try:
        _build_sublattice_graph(inner, json.dumps(inner.metadata), 1)
        packed = True
    except Exception:
        packed = False
    return dict(
        temporary=tempfile.gettempdir(),
        headers=json.dumps(CovalentAPIClient.get_extra_headers()),
        endpoint=local.BASE_ENDPOINT,
        dispatches=get_config("sdk.dispatch_cache_dir"),
        results=get_config("sdk.results_dir"),
        groups=len(groups),
        packed=packed,
    )

@ct.lattice(executor="local", workflow_executor="local")
def workflow(): return seen()

print(json.dumps(ct.get_result(ct.dispatch(workflow)(), wait=True).result))
"""

SHELL = """#!/bin/sh
touch "$0.used"
exec sh
"""

EXECUTOR = """
from pathlib import Path
Path(__file__).with_suffix(".loaded").touch()
"""


def accepts(file):
    """Whether somebody listens at a socket; those of an earlier life are still there."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(file)) == 0


class Life:
    """One life of the server, after a workflow in it, and a try of the terminal."""

    def __init__(self, server, executor, terminal_is_on=None):
        self.server = server
        self.seen = json.loads(server.client(SEEN.format(executor=executor))) or {}
        self.terminal = None if terminal_is_on is None else terminal(server, terminal_is_on)
        self.listening = server.listening()
        self.has_dask = any(map(accepts, (server.home / ".cache/covalent/dask").iterdir()))
        self.output = server.output

    def answers_as(self, host):
        try:
            with self.server.answer("/api/v1/dispatches/list?count=1", Host=host):
                return True
        except urllib.error.HTTPError as refused:
            refused.close()
            return False


# Effects: each takes the value and a life of the server.


def below(pattern):
    """There are such files in the directory that the value names."""
    return lambda value, life: any(Path(value).glob(pattern))


def seen(name, expected=None):
    """A task saw the value, or what it leads to."""
    return lambda value, life: life.seen.get(name) == (value if expected is None else expected)


def said(pattern):
    return lambda value, life: re.search(pattern, life.output) is not None


def listens(value, life):
    host, _, port = value.rpartition(":")
    return (host or "127.0.0.1", int(port)) in life.listening


def holds_workflows(value, life):
    file = Path(value.removeprefix("sqlite+pysqlite:///"))
    if not file.exists():
        return False
    with closing(sqlite3.connect(file)) as database:
        return bool(database.execute("SELECT id FROM lattices").fetchall())


def lives(home):
    """Of each life: the executor of its workflow, and the variables with value and effect."""
    yield (
        "dask",
        {
            "COVALENT_ALLOWED_HOSTS": ("proxy.example", lambda value, life: life.answers_as(value)),
            "COVALENT_LOCAL_GROUP": ("", said("every user of this machine runs code as")),
            "COVALENT_PROXY_SOCKET": (f"{home}/proxy", lambda value, life: accepts(value)),
            "COVALENT_SVC_PORT": (str(free_port()), listens),
            "COVALENT_UI_TERMINAL": ("1", lambda value, life: life.terminal == "42"),
            "SHELL": (f"{home}/shell", lambda value, life: Path(f"{value}.used").exists()),
            "COVALENT_DASK_DASHBOARD": (f"127.0.0.1:{free_port()}", listens),
            "COVALENT_DATABASE": (f"{home}/database/covalent.sqlite", holds_workflows),
            "COVALENT_CACHE_DB_URL": (
                f"sqlite+pysqlite:///{home}/state.db",
                lambda value, life: Path(home, "state.db").exists(),
            ),
            "COVALENT_DATA_DIR": (f"{home}/data", below("*/inputs.tobj")),
            "COVALENT_CACHE_DIR": (f"{home}/cache", below("dask-scratch-space")),
            "COVALENT_LOGDIR": (f"{home}/log", below("covalent_ui.log")),
            "COVALENT_CONFIG_DIR": (f"{home}/config", below("covalent.conf")),
            "COVALENT_EXECUTOR_DIR": (f"{home}/executors", below("mine.loaded")),
            "TMPDIR": (f"{home}/temporary", seen("temporary")),
            "LOGLEVEL": ("DEBUG", said(r"\[DEBUG\](?s:.)*GET /api")),
            "COVALENT_DEBUG_DB": ("1", said("SELECT lattices")),
            "COVALENT_ASSET_CACHE_SIZE": ("7", said("maxsize=7")),
            "COVALENT_HEARTBEAT_FILE": (
                f"{home}/heart",
                lambda value, life: Path(value).exists() and "ALIVE" in Path(value).read_text(),
            ),
            "COVALENT_EXTRA_HEADERS": ('{"X-Example": "1"}', seen("headers")),
            "COVALENT_DISPATCH_BASE_ENDPOINT": ("/elsewhere", seen("endpoint")),
            "COVALENT_DISPATCH_CACHE_DIR": (f"{home}/dispatches", seen("dispatches")),
            "COVALENT_RESULTS_DIR": (f"{home}/results", seen("results")),
        },
    )
    yield (
        "local",
        {
            # Executors follow it, although covalent.conf has their folders of the first start.
            "XDG_CACHE_HOME": (f"{home}/xdg/cache", below("covalent/workdir/*")),
            "XDG_DATA_HOME": (f"{home}/xdg/data", below("covalent/dispatcher_db.sqlite")),
            "COVALENT_HEARTBEAT_INTERVAL": (
                "1",
                lambda value, life: (
                    f"heartbeat_interval = {value}\n"
                    in Path(home, ".config/covalent/covalent.conf").read_text()
                ),
            ),
            "COVALENT_DISABLE_DASK": ("1", lambda value, life: not life.has_dask),
            "COVALENT_ENABLE_TASK_PACKING": ("1", seen("groups", 1)),
            "COVALENT_DISABLE_LEGACY_SUBLATTICES": ("1", seen("packed", False)),
        },
    )
    yield (
        "dask",
        {
            "COVALENT_DATABASE_URL": (f"sqlite+pysqlite:///{home}/url.sqlite", holds_workflows),
            "COVALENT_USE_OLD_DASK": ("1", said("Submitted task 0 to dask")),
            "LOGLEVEL": ("DEBUG", said(r"\[DEBUG\]")),
            "COVALENT_LOG_TO_FILE": (
                "false",
                lambda value, life: "[DEBUG]" in life.output and "GET /api" not in life.output,
            ),
        },
    )
    yield (
        "local",
        {
            "XDG_CONFIG_DIR": (f"{home}/xdg/config", below("covalent.conf")),
            "COVALENT_SERVER_IFACE_ANY": (
                "1",
                lambda value, life: "::" in {host for host, _ in life.listening},
            ),
            "COVALENT_DISPATCHER_ADDR": ("127.0.0.1", said("ready at http://127.0.0.1:")),
            "COVALENT_PLUGIN_LOAD": ("false", said("No executor found by name: local")),
        },
    )
    # Beside the folder of what does not outlive a run is root's, for the fleet.
    fleet = Path(f"{home}/other-fleet")
    Authority(f"{home}/authority").issue("server", fleet, role="server")
    (fleet / "workers").mkdir()
    (fleet / "workers/w1").touch()
    yield (
        "dask",
        {
            "COVALENT_CACHE_DIR": (f"{home}/other", below("fleet.json")),
            "COVALENT_LOCAL_WORKERS": ("0", lambda value, life: not life.seen),
            "COVALENT_FLEET_WAIT": ("1s", lambda value, life: not life.seen),
            "COVALENT_FLEET_LISTEN": (f"127.0.0.1:{free_port()}", listens),
        },
    )


def documented():
    """Each stands in a comment of its own, ready to be put in force."""
    return set(re.findall(r"^#([A-Z_]+)=", FILE.read_text(), re.MULTILINE))


class Variables(unittest.TestCase):
    def test_each_takes_effect_at_the_next_start(self):
        with Served() as server:
            home = server.home
            (home / "temporary").mkdir()
            (home / "executors").mkdir()
            (home / "executors/mine.py").write_text(EXECUTOR)
            (home / "shell").write_text(SHELL)
            (home / "shell").chmod(0o700)
            planned = list(lives(home))
            shown = {name for _, variables in planned for name in variables}
            self.assertEqual(shown, documented())

            server.start()
            first = Life(server, "dask", terminal_is_on=False)
            for _, variables in planned:
                for name, (value, effect) in variables.items():
                    self.assertFalse(effect(value, first), f"{name} at the first start")
            port = server.port
            for executor, variables in planned:
                server.stop()
                values = {name: value for name, (value, _) in variables.items()}
                server.port = int(values.get("COVALENT_SVC_PORT", port))
                server.start(**values)
                life = Life(server, executor, "COVALENT_UI_TERMINAL" in variables or None)
                for name, (value, effect) in variables.items():
                    with self.subTest(name=name):
                        self.assertTrue(effect(value, life), life.output[-2000:])

    def test_what_has_no_variable_survives(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            self.set(server, log_stdout="mine.log", workdir="/srv/work")
            server.stop()
            server.start(LOGLEVEL="ERROR", COVALENT_HEARTBEAT_INTERVAL="9")
            settings = json.loads(server.get("/api/v1/settings"))["client"]
            self.assertEqual(settings["executors"]["local"]["log_stdout"], "mine.log")
            self.assertEqual(settings["executors"]["local"]["workdir"], "/srv/work")
            self.assertEqual(settings["sdk"]["log_level"], "error")

    def set(self, server, **values):
        """As the page Settings of the UI does."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/api/v1/settings",
            json.dumps({"client": {"executors": {"local": values}}}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()


if __name__ == "__main__":
    unittest.main()
