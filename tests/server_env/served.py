"""A server of its own for each test: a temporary home, free ports, its output kept."""

import functools
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import client

# As covalentctl has them (`src/service/serve.rs`).
OPTIONS = ("-I", "-X", "utf8", "-u")
LAUNCHER = Path(__file__).resolve().parents[2] / "server"
DATABASE = ".local/share/covalent/dispatcher_db.sqlite"
START_LIMIT = 60  # seconds; two are usual
STOP_LIMIT = 5  # seconds, promised by the launcher for local work


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connections(process, kind):
    """psutil has another name for it since its version 6."""
    return (getattr(process, "net_connections", None) or process.connections)(kind)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.1)


# Covalent's own, in an empty home.
MIGRATE = """
from covalent_dispatcher._db.datastore import workflow_db
workflow_db.run_migrations(logging_enabled=False)
"""


def migrate(home):
    """Have Covalent bring the database in a home to its own revision; what became of that."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MIGRATE],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@functools.cache
def new_database():
    """A database without workflows: to make one takes a fifth of a first start."""
    with tempfile.TemporaryDirectory(prefix="covalent-test-") as home:
        migrate(home).check_returncode()
        return Path(home, DATABASE).read_bytes()


class Served:
    """The launcher, run by the interpreter that runs the test.

    It finds a new database; whatever removes that has the server make its own.
    """

    def __init__(self, launcher=None, **variables):
        self._launcher = launcher or LAUNCHER
        self._directory = tempfile.TemporaryDirectory(prefix="covalent-test-")
        self.home = Path(self._directory.name)
        self.run_directory = self.home / "run"
        self.run_directory.mkdir()
        self.output_file = self.home / "output"
        self.port = free_port()
        self.variables = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "COVALENT_SVC_PORT": str(self.port),
            "COVALENT_CACHE_DB_URL": f"sqlite+pysqlite:///{self.home}/cache.db",
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        self.options = OPTIONS
        self.descriptors: tuple[int, ...] = ()
        self.process = None
        self.database.parent.mkdir(parents=True)
        self.database.write_bytes(new_database())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        time.sleep(0.3)  # the children die with the launcher, not before it
        self._directory.cleanup()

    @property
    def output(self):
        return self.output_file.read_text()

    @property
    def database(self):
        return self.home / DATABASE

    def query(self, statement):
        connection = sqlite3.connect(self.database, timeout=30)
        try:
            with connection:
                return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def launch(self, **variables):
        self.output_file.unlink(missing_ok=True)  # an earlier run's last child may still write
        with self.output_file.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, *self.options, str(self._launcher)],
                cwd="/",
                env={**self.variables, **variables},
                pass_fds=self.descriptors,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start(self, **variables):
        self.launch(**variables)
        deadline = time.monotonic() + START_LIMIT
        while "covalent: ready at" not in self.output:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not get ready:\n{self.output}")
            time.sleep(0.1)

    def refuse(self, **variables):
        """Start what must not start; return the exit code."""
        self.launch(**variables)
        return self.process.wait(START_LIMIT)

    def stop(self, number=signal.SIGTERM):
        """Return the exit code and the seconds that the stop took."""
        start = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(30)
        return code, time.monotonic() - start

    def get(self, path, **headers):
        with self.answer(path, **headers) as answer:
            return answer.read().decode()

    def answer(self, path, port=None, **headers):
        address = f"http://127.0.0.1:{port or self.port}{path}"
        request = urllib.request.Request(address, headers=headers)
        return urllib.request.urlopen(request, timeout=10)

    def status_of(self, dispatch_id):
        return self.query(f"SELECT status FROM lattices WHERE dispatch_id = '{dispatch_id}'")[0][0]

    def interrupted(self):
        content = json.loads((self.home / "interrupted.json").read_text())
        return [workflow["dispatch_id"] for workflow in content["workflows"]]

    def runs_a_task(self):
        return bool(self.query("SELECT id FROM electrons WHERE status = 'RUNNING'"))

    def client(self, code, seconds=60, **variables):
        """Run client code in a process of its own; return what it prints."""
        # Covalent's client keeps the first port that it is told in its home.
        home = self.home / f"client-{self.port}"
        home.mkdir(exist_ok=True)
        file, output, errors = (home / name for name in ("client.py", "output", "errors"))
        file.write_text(code)
        environment = {
            "HOME": str(home),
            "COVALENT_SVC_PORT": str(self.port),
            "PATH": "/usr/bin:/bin",
            **variables,
        }
        process = client.copies.Process(
            target=client.run, args=(str(file), environment, str(output), str(errors))
        )
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"the client did not end within {seconds} s")
        if process.exitcode:
            raise AssertionError(errors.read_text())
        return output.read_text().strip()

    def descendants(self):
        import psutil

        return psutil.Process(self.process.pid).children(recursive=True)

    def listening(self):
        """(host, port) of every listening socket of the server and its children."""
        import psutil

        found = set()
        for process in [psutil.Process(self.process.pid), *self.descendants()]:
            found.update(self._sockets(process, psutil.CONN_LISTEN))
        return found

    def connected(self):
        """Descriptors of the server's own Unix sockets, by which it talks to Dask among others."""
        import psutil

        return {one.fd for one in connections(psutil.Process(self.process.pid), "unix")}

    def _sockets(self, process, status):
        found = connections(process, "inet")
        return {tuple(one.laddr) for one in found if one.status == status}
