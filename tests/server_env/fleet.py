"""A server with workers that have homes of their own, all on this machine, with certificates made here."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from served import LAUNCHER, OPTIONS, START_LIMIT, Served, connections, free_port, wait_for

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
EXTENSIONS = "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:{name}\n"


class Authority:
    """Makes certificates as `covalentctl worker add` does."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir()
        self.certificate = self.folder / "ca.crt"
        subject = ("-subj", "/CN=Covalent fleet", "-days", "30")
        self._key = self.folder / "ca.key"
        openssl("req", "-x509", *CURVE, *subject, "-keyout", self._key, "-out", self.certificate)

    def issue(self, name, target, role="worker", days=30):
        """A certificate in this name, and the authority's beside it."""
        target.mkdir(exist_ok=True)
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(EXTENSIONS.format(name=name))
        key = target / f"{role}.key"
        openssl("req", "-new", *CURVE, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        signed = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial")
        certificate = target / f"{role}.crt"
        openssl(
            *("x509", "-req", "-in", request, *signed, "-days", str(days)),
            *("-extfile", extensions, "-out", certificate),
        )
        (target / "ca.crt").write_bytes(self.certificate.read_bytes())
        return fingerprint(certificate)


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def fingerprint(certificate):
    command = ["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return told.partition("=")[2].strip().replace(":", "").lower()


class Fleet(Served):
    """The server, with the folder that root would have published."""

    def __init__(self, local_workers=0, host="127.0.0.1", **variables):
        self.fleet_port = free_port()
        self.place = f"{host}:{self.fleet_port}"
        super().__init__(
            COVALENT_FLEET_LISTEN=self.place,
            COVALENT_LOCAL_WORKERS=str(local_workers),
            **variables,
        )
        self.variables["RUNTIME_DIRECTORY"] = str(self.run_directory)
        self.published = self.home / "run-fleet"
        self.authority = Authority(self.home / "authority")
        self.authority.issue("server", self.published, role="server")
        (self.published / "workers").mkdir()
        self.workers = []

    def __exit__(self, *exception):
        for worker in self.workers:
            worker.end()
        super().__exit__(*exception)

    def add(self, name, listed="", **variables):
        """A worker that is on the list; it is not started."""
        worker = Worker(self, name, **variables)
        self.workers.append(worker)
        self.authority.issue(name, worker.published)
        self.list(name, listed)
        return worker

    def list(self, name, fingerprint=""):
        (self.published / "workers" / name).write_text(fingerprint)

    def remove(self, name):
        (self.published / "workers" / name).unlink(missing_ok=True)

    def known(self, name):
        """What `covalentctl worker list` would tell of it."""
        try:
            return json.loads((self.run_directory / "fleet.json").read_text())["workers"][name]
        except (FileNotFoundError, KeyError):
            return {"state": "unknown"}

    def state(self, name):
        return self.known(name)["state"]


class Worker:
    """`server/worker.py`, with a home of its own."""

    def __init__(self, fleet, name, processes=1, **variables):
        self._directory = tempfile.TemporaryDirectory(prefix="covalent-worker-")
        self.home = Path(self._directory.name)
        self.run_directory = self.home / "run"
        self.run_directory.mkdir()
        self.published = self.home / "run-fleet"
        self.output_file = self.home / "output"
        self.process = None
        self.launcher = LAUNCHER
        first = free_port()
        self.variables = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "RUNTIME_DIRECTORY": str(self.run_directory),
            "COVALENT_SERVER": fleet.place,
            "COVALENT_WORKER_NAME": name,
            "COVALENT_WORKER_PROCESSES": str(processes),
            "COVALENT_WORKER_PORTS": f"{first}-{min(first + 50, 65535)}",
            **variables,
        }

    @property
    def output(self):
        return self.output_file.read_text()

    def launch(self, **variables):
        with self.output_file.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, *OPTIONS, str(self.launcher / "worker.py")],
                cwd="/",
                env={**self.variables, **variables},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def connected(self, port):
        """The ports of its own from which it is connected to this one."""
        import psutil

        found = connections(psutil.Process(self.process.pid), "inet")
        return [one.laddr.port for one in found if one.raddr and one.raddr.port == port]

    def join(self, fleet, **variables):
        """Start it and wait until the server has it."""
        self.launch(**variables)
        self.joined(fleet)

    def joined(self, fleet):
        """Wait until the server has all its processes."""
        name = self.variables["COVALENT_WORKER_NAME"]
        slots = int(self.variables["COVALENT_WORKER_PROCESSES"])
        try:
            wait_for(lambda: fleet.state(name) == "running", START_LIMIT)
            wait_for(lambda: fleet.known(name)["slots"] == slots, START_LIMIT)
        except AssertionError:
            raise AssertionError(f"{self.output}\n---\n{fleet.output}") from None

    def says(self, text, seconds=20):
        try:
            wait_for(lambda: text in self.output, seconds)
        except AssertionError:
            raise AssertionError(f"{text!r} is not in:\n{self.output}") from None

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            time.sleep(0.3)  # its processes die with it, not before it
        self._directory.cleanup()
