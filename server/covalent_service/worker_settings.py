"""The settings of a worker: read from the environment and checked."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from covalent_service.refusal import NEEDS_ATTENTION, Refusal
from covalent_service.settings import Given, count, fleet_folder, host_and_port, positive

DEFAULT_PORTS = range(48010, 48110)
PORTS_EACH = 2  # of a process: its own, and that of the one that watches over it
BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class WorkerSettings:
    """What the environment says, each value checked."""

    home: Path
    run_dir: Path  # for what does not outlive this run
    folder: Path  # root's: this machine's certificate
    server: str  # host:port
    name: str
    processes: int
    memory: int | None  # bytes that each may have; None for an equal share of the machine's
    resources: dict[str, float]
    address: str  # that the server connects to; empty for the one that leads to it
    ports: range

    @property
    def work_dir(self) -> Path:
        """Where tasks start."""
        return self.home / "run"

    @property
    def cache_dir(self) -> Path:
        """What Dask and Covalent write to, beside the tasks."""
        return self.home / ".cache/covalent"

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "WorkerSettings":
        """Check the environment; a wrong value is refused by name. An empty value is no value."""
        given = Given(environ)
        server = given.value("COVALENT_SERVER", host_and_port, "")
        name = given.value("COVALENT_WORKER_NAME", _name, "")
        if not server or not name:
            raise Refusal(
                "this machine has joined no server: type covalentctl worker add NAME there, and "
                "covalentctl join here",
                NEEDS_ATTENTION,
            )
        home = given.home()
        run_dir = given.run_directory() or home / "run"
        processes = given.value("COVALENT_WORKER_PROCESSES", positive, os.cpu_count() or 1)
        ports = given.value("COVALENT_WORKER_PORTS", _ports, DEFAULT_PORTS)
        if len(ports) < processes * PORTS_EACH:
            raise Refusal(
                f"COVALENT_WORKER_PORTS has {len(ports)} ports, and {processes} processes need "
                f"{processes * PORTS_EACH}: name more, or set COVALENT_WORKER_PROCESSES to "
                f"{len(ports) // PORTS_EACH}",
                NEEDS_ATTENTION,
            )
        return cls(
            home=home,
            run_dir=run_dir,
            folder=fleet_folder(run_dir),
            server=server,
            name=name,
            processes=processes,
            memory=given.value("COVALENT_WORKER_MEMORY", _bytes, None),
            resources=given.value("COVALENT_WORKER_RESOURCES", _resources, {}),
            address=given.value("COVALENT_WORKER_ADDRESS", _address, ""),
            ports=ports,
        )


def _name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", text):
        return text
    raise ValueError("a name as covalentctl worker add takes it")


def _ports(text: str) -> range:
    first, separator, last = text.partition("-")
    try:
        found = range(count(first), count(last) + 1)
    except ValueError:
        found = range(0)
    if separator and found and 1 <= found[0] and found[-1] <= 65535:
        return found
    raise ValueError("the first and the last of the ports, such as 48010-48109")


def _bytes(text: str) -> int | None:
    parts = re.fullmatch(r"([0-9]+)([KMGT]?)", text)
    if parts and int(parts[1]):
        return int(parts[1]) * BYTES[parts[2]]
    raise ValueError("an amount of memory, such as 8G")


def _resources(text: str) -> dict[str, float]:
    pairs = [pair.strip().partition("=") for pair in text.split(",") if pair.strip()]
    if all(re.fullmatch(r"\w+", name) and re.fullmatch(r"[0-9]+", n) for name, _, n in pairs):
        return {name: float(number) for name, _, number in pairs}
    raise ValueError("a list of names and numbers with commas between, such as GPU=1")


def _address(text: str) -> str:
    try:
        address = ip_address(text.strip("[]"))
        is_usable = address.version == 4 or not address.is_link_local
    except ValueError:
        is_usable = False
    if is_usable:
        return str(address)
    raise ValueError("an IP address of this machine, and none that is link-local (fe80::)")
