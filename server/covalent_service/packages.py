"""Python packages that tasks bring along (`ct.DepsPip`, `pip install` in a `ct.DepsBash`).

The environment belongs to root and is never changed. What tasks install goes below
HOME/site, which the tasks search after the environment: a task's package never replaces
one of the server's. Seen from pip, both are installed, so that what the environment has is
not fetched again, and a second task with the same packages needs no index.

Run as a script, this file is the `pip` of the tasks (see `bin/pip`).
"""

import fcntl
import os
import sys
import sysconfig
from collections.abc import Mapping, MutableMapping
from pathlib import Path

OWN_COMMANDS = Path(__file__).resolve().parent.parent / "bin"
WHEELS = Path("/usr/share/covalent/wheels")
# Any of these says where to install: then nothing is said here.
DESTINATION_VARIABLES = ("PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT")
DESTINATION_OPTIONS = ("-t", "--target", "--prefix", "--user", "--root")


def site(home: Path) -> Path:
    """The prefix below which tasks install."""
    return home / "site"


def directories(environ: Mapping[str, str]) -> list[str]:
    """Where packages of tasks are found, which is where pip puts them."""
    if environ.get("PIP_TARGET"):
        return [environ["PIP_TARGET"]]
    base = environ.get("PIP_PREFIX") or str(site(Path(environ["HOME"])))
    names = ("base", "platbase", "installed_base", "installed_platbase", "prefix", "exec_prefix")
    scheme = sysconfig.get_preferred_scheme("prefix")
    paths = sysconfig.get_paths(scheme, vars={name: base for name in names})
    return list(dict.fromkeys((paths["purelib"], paths["platlib"])))


def given(environ: Mapping[str, str]) -> list[str]:
    """Where the administrator has packages for tasks.

    The launcher itself is started without regard to it (`python -I`).
    """
    return [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def announce(environ: MutableMapping[str, str]) -> None:
    """Let tasks find this environment's commands by name, and our `pip` before its own."""
    commands = [str(OWN_COMMANDS), str(Path(sys.prefix) / "bin")]
    inherited = environ.get("PATH") or os.defpath
    others = [entry for entry in inherited.split(os.pathsep) if entry not in commands]
    environ["PATH"] = os.pathsep.join(commands + others)
    environ["VIRTUAL_ENV"] = sys.prefix


def make_importable(paths: list[str]) -> None:
    """Append the packages of tasks to the module search path of this process."""
    sys.path.extend(path for path in paths if path not in sys.path)


def pip_environment(arguments: list[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which pip does the right thing; the administrator's PIP_* wins."""
    new = dict(environ)
    if arguments[:1] == ["install"] and not _says_where(arguments, environ):
        new["PIP_PREFIX"] = str(site(Path(environ["HOME"])))
    new["PYTHONPATH"] = os.pathsep.join(
        filter(None, [environ.get("PYTHONPATH"), *directories(new)])
    )
    new.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return new


def pip_arguments(arguments: list[str], prefix: Path, wheels: Path = WHEELS) -> list[str]:
    """The same call with the versions of the environment as constraints, and its own wheels.

    As arguments, since variables would take the place of what pip.conf says.
    """
    if arguments[:1] != ["install"]:
        return arguments
    added = []
    if (constraints := prefix / "constraints.txt").is_file():
        added += ["--constraint", str(constraints)]
    if wheels.is_dir():
        added += ["--find-links", str(wheels)]
    return ["install", *added, *arguments[1:]]


def _says_where(arguments: list[str], environ: Mapping[str, str]) -> bool:
    return any(environ.get(name) for name in DESTINATION_VARIABLES) or any(
        argument.split("=")[0] in DESTINATION_OPTIONS for argument in arguments
    )


def pip(arguments: list[str]) -> None:
    """Become pip. Two tasks must not install at the same time: pip itself knows no lock."""
    if arguments[:1] == ["install"]:
        place = site(Path(os.environ["HOME"]))
        place.mkdir(parents=True, exist_ok=True)
        lock = os.open(place / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        os.set_inheritable(lock, True)  # held until pip ends
        fcntl.flock(lock, fcntl.LOCK_EX)
    environ = pip_environment(arguments, os.environ)
    arguments = pip_arguments(arguments, Path(sys.prefix))
    os.execve(sys.executable, [sys.executable, "-m", "pip", *arguments], environ)


if __name__ == "__main__":
    pip(sys.argv[1:])
