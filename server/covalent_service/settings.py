"""The settings of the service: read from the environment, checked, and written back."""

import os
import re
import socket
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TypeVar

from covalent_service import proxies
from covalent_service.refusal import NEEDS_ATTENTION, Refusal

DEFAULT_PORT = 48008
EXAMPLE_DASHBOARD = "127.0.0.1:8787"
DEFAULT_LOCAL_GROUP = "covalent-users"  # as the package makes it (sysusers.d)
DEFAULT_HEARTBEAT_INTERVAL = 5  # seconds
DEFAULT_FLEET_LISTEN = "[::]:48009"
DEFAULT_FLEET_WAIT = 3600  # seconds
SECONDS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400}

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
YES = ("1", "true", "t")
NO = ("0", "false", "f")

T = TypeVar("T")


@dataclass(frozen=True)
class FleetSettings:
    """What concerns the workers of other machines."""

    folder: Path  # root's: certificates, and the list of those let in
    listen: str  # host:port
    wait: int  # seconds for which a task waits for a worker that has what it asks for


@dataclass(frozen=True)
class Settings:
    """What the environment says, each value checked, each path absolute."""

    home: Path
    work_dir: Path  # where the server and its tasks start
    port: int
    all_interfaces: bool
    address: (
        str  # what the server calls itself, its tasks it, and whoever said none in `Host` is told
    )
    log_level: str
    config_file: Path
    executor_dir: Path
    data_dir: Path
    cache_dir: Path
    log_dir: Path
    run_dir: Path  # for what does not outlive this run
    database_file: Path
    dask: bool
    dashboard: str  # host:port of Dask's pages; empty for none
    local_workers: int | None  # None for as many as the machine has cores
    fleet: FleetSettings
    terminal: bool
    allowed_hosts: tuple[str, ...]  # more names that browsers may call the server by
    local_group: str  # whose members may use it from this machine; empty for everybody
    proxy_socket: Path | None  # where a proxy with a login reaches it
    https_names: tuple[str, ...]  # more names that those may call it by who come from there
    heartbeat_interval: int

    @property
    def bind_address(self) -> str:
        """The host to listen on; empty for every address of the machine."""
        return "" if self.all_interfaces else self.address.strip("[]")

    @property
    def url(self) -> str:
        """Where people and clients find the server."""
        return f"http://{self.address}:{self.port}"

    @classmethod
    def read(
        cls, environ: Mapping[str, str], machine_name: Callable[[], str] = socket.getfqdn
    ) -> "Settings":
        """Check the environment; a wrong value is refused by name. An empty value is no value."""
        given = Given(environ)
        home = given.home()
        cache = given.path("XDG_CACHE_HOME", home / ".cache") / "covalent"
        config = given.path("XDG_CONFIG_DIR", home / ".config/covalent")
        plugins = given.path("XDG_CONFIG_DIR", home / ".config") / "covalent/executor_plugins"
        share = given.path("XDG_DATA_HOME", home / ".local/share") / "covalent"
        all_interfaces = given.switch("COVALENT_SERVER_IFACE_ANY", False)
        address = given.value("COVALENT_DISPATCHER_ADDR", _own_host, "")
        if not address:
            address = _default_address(machine_name) if all_interfaces else "localhost"
        dashboard = given.value("COVALENT_DASK_DASHBOARD", host_and_port, "")
        if dashboard and not all_interfaces and not _is_loopback(dashboard):
            raise Refusal(
                f"COVALENT_DASK_DASHBOARD is {dashboard!r}, and the server is for this machine only: "
                f"name an address of loopback, such as {EXAMPLE_DASHBOARD}, "
                "or set COVALENT_SERVER_IFACE_ANY=1 as well",
                NEEDS_ATTENTION,
            )
        run_dir = given.run_directory() or given.path("COVALENT_CACHE_DIR", cache)
        fleet = FleetSettings(
            folder=fleet_folder(run_dir),
            listen=given.value("COVALENT_FLEET_LISTEN", host_and_port, DEFAULT_FLEET_LISTEN),
            wait=given.value("COVALENT_FLEET_WAIT", _duration, DEFAULT_FLEET_WAIT),
        )
        return cls(
            home=home,
            work_dir=home / "run",
            port=given.value("COVALENT_SVC_PORT", _port, DEFAULT_PORT),
            all_interfaces=all_interfaces,
            address=address,
            log_level=given.value("LOGLEVEL", _log_level, "WARNING"),
            config_file=given.path("COVALENT_CONFIG_DIR", config) / "covalent.conf",
            executor_dir=given.path("COVALENT_EXECUTOR_DIR", plugins),
            # Covalent answers 422 to every upload if a symbolic link is on the way there.
            data_dir=_resolved(
                given.path("COVALENT_DATA_DIR", home / ".local/share/covalent/data")
            ),
            cache_dir=given.path("COVALENT_CACHE_DIR", cache),
            log_dir=given.path("COVALENT_LOGDIR", cache),
            run_dir=run_dir,
            database_file=given.path("COVALENT_DATABASE", share / "dispatcher_db.sqlite"),
            dask=not given.switch("COVALENT_DISABLE_DASK", False),
            dashboard=dashboard,
            local_workers=given.value("COVALENT_LOCAL_WORKERS", count, None),
            fleet=fleet,
            terminal=given.switch("COVALENT_UI_TERMINAL", False),
            allowed_hosts=given.value("COVALENT_ALLOWED_HOSTS", _host_names, ()),
            # The one variable that an empty value says something for.
            local_group=environ.get("COVALENT_LOCAL_GROUP", DEFAULT_LOCAL_GROUP).strip(),
            proxy_socket=given.value("COVALENT_PROXY_SOCKET", _absolute, None),
            # Of another file, which its own unit checks: it is no reason not to serve this machine.
            https_names=_words(environ.get("COVALENT_HTTPS_NAMES", "")),
            heartbeat_interval=given.value(
                "COVALENT_HEARTBEAT_INTERVAL", positive, DEFAULT_HEARTBEAT_INTERVAL
            ),
        )

    def export(self, environ: MutableMapping[str, str]) -> None:
        """Write back what Covalent reads itself, in the form in which it understands it."""
        for name in [name for name in environ if _is_covalents(name) and not environ[name]]:
            del environ[name]
        environ["COVALENT_SVC_PORT"] = str(self.port)
        environ["COVALENT_DISPATCHER_ADDR"] = self.address
        environ["COVALENT_SERVER_IFACE_ANY"] = "1" if self.all_interfaces else "0"
        environ["COVALENT_DATA_DIR"] = str(self.data_dir)
        environ["COVALENT_DISABLE_DASK"] = "0" if self.dask else "1"
        environ["LOGLEVEL"] = self.log_level
        # For Pythons that tasks start, as `-X utf8` is for this one.
        environ.setdefault("PYTHONUTF8", "1")
        proxies.spare(environ, self.address)


def fleet_folder(run_dir: Path) -> Path:
    """Where root publishes certificates for the account: /run/covalent-fleet beside /run/covalent."""
    return run_dir.with_name(f"{run_dir.name}-fleet")


class Given:
    """The environment, asked for one checked value at a time."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        for name, value in environ.items():
            if _is_read(name):
                _require_utf8(name, value)
        self.value("COVALENT_ASSET_CACHE_SIZE", positive, 0)

    def value(self, name: str, parse: Callable[[str], T], default: T) -> T:
        text = self.environ.get(name, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as accepted:
            raise Refusal(
                f"{name} is {text!r}, which is not {accepted}: "
                "correct it in the environment of the service, then start it again",
                NEEDS_ATTENTION,
            ) from None

    def switch(self, name: str, default: bool) -> bool:
        return self.value(name, _switch, default)

    def path(self, name: str, default: Path) -> Path:
        return self.value(name, _absolute, default)

    def run_directory(self) -> Path | None:
        """The unit's first one (systemd.exec(5), RuntimeDirectory=)."""
        first, _, _ = self.environ.get("RUNTIME_DIRECTORY", "").partition(":")
        return Path(first) if first else None

    def home(self) -> Path:
        if not self.environ.get("HOME"):
            raise Refusal(
                "HOME is not set: the directory for Covalent's data is needed, "
                "such as /var/lib/covalent",
                NEEDS_ATTENTION,
            )
        return self.path("HOME", Path())


def _is_covalents(name: str) -> bool:
    return name.startswith("COVALENT_") or name == "LOGLEVEL"


def _is_read(name: str) -> bool:
    return _is_covalents(name) or name.startswith("XDG_") or name == "HOME"


def _require_utf8(name: str, value: str) -> None:
    """A path with another byte would be another path in covalent.conf."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refusal(
            f"{name} has a byte that is not UTF-8: {os.fsencode(value)!r}; "
            "correct it in the environment of the service, then start it again",
            NEEDS_ATTENTION,
        ) from None


def _default_address(machine_name: Callable[[], str]) -> str:
    """The name of a machine that is open to the network, if the server can call itself by it."""
    name = machine_name()
    if name.split(".")[0] != "localhost":
        try:
            socket.getaddrinfo(name, None)
            return name
        except OSError:
            pass
    return "localhost"


def _switch(text: str) -> bool:
    if text.lower() in YES:
        return True
    if text.lower() in NO:
        return False
    raise ValueError(f"one of {', '.join(YES)} (on) or {', '.join(NO)} (off)")


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 65535:
        return int(text)
    raise ValueError("a port number from 1 to 65535")


def positive(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise ValueError("a whole number from 1 on")


def count(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    raise ValueError("a whole number, 0 included")


def _duration(text: str) -> int:
    parts = re.fullmatch(r"([0-9]+) *(s|min|h|d|)", text)
    if parts and int(parts[1]) > 0:
        return int(parts[1]) * SECONDS[parts[2]]
    raise ValueError("a time, such as 90s, 30min or 1h")


def _log_level(text: str) -> str:
    if text.upper() in LOG_LEVELS:
        return text.upper()
    raise ValueError(f"one of {', '.join(LOG_LEVELS)}")


def _host_name(text: str) -> str:
    # Covalent puts the value between "http://" and ":port".
    if re.fullmatch(r"[A-Za-z0-9._-]+", text):
        return text
    literal = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return f"[{IPv6Address(literal)}]"
    except ValueError:
        raise ValueError(
            "a host name or an IP address, without a scheme and without a port"
        ) from None


def _own_host(text: str) -> str:
    """What is listened on or connected to: such an address means nothing without an interface."""
    name = _host_name(text)
    if name.startswith("[") and IPv6Address(name[1:-1]).is_link_local:
        raise ValueError("a host name or an IP address, and none that is link-local (fe80::)")
    return name


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _host_names(text: str) -> tuple[str, ...]:
    try:
        return tuple(map(_host_name, _words(text)))
    except ValueError:
        raise ValueError("a list of host names with commas between") from None


def host_and_port(text: str) -> str:
    host, separator, port = text.rpartition(":")
    if separator and port.isdigit() and (host.startswith("[") or ":" not in host):
        return f"{_own_host(host)}:{_port(port)}"
    raise ValueError(f"host:port, such as {EXAMPLE_DASHBOARD}")


def _is_loopback(place: str) -> bool:
    host = place.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a circle of links, in either way
        raise Refusal(
            f"the links on the way to {path} lead nowhere ({error}): correct them, or let "
            "COVALENT_DATA_DIR name another folder",
            NEEDS_ATTENTION,
        ) from None


def _absolute(text: str) -> Path:
    path = Path(text)
    if path.is_absolute():
        return path
    raise ValueError("an absolute path")
