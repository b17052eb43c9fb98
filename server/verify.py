"""Tells whether an environment can run the server: `<environment>/bin/python -S verify.py`.

Needs a HOME to write to, which should be a temporary one. Prints one line of JSON,
{"covalent": version, "executors": [name, ...], "database_revision": text,
"sought": [top-level module, found or not, ...]}, and exits with 0; or says in a few lines on
the standard error what cannot be imported and of which package, and exits with 1. With
--loaded it prints instead the paths in site-packages of all that was imported, in that order.
"""

import os
import sys

if sys.flags.no_site:
    # Before any code of the packages runs, which site may do: covalentctl's lock is not theirs.
    os.closerange(3, 1024)
    import site

    site.main()

import contextlib
import gc
import importlib
import importlib.metadata
import io
import json
import multiprocessing
from multiprocessing import synchronize
from typing import Any

# A running service's variables would lead to its configuration and database.
FOREIGN_PREFIXES = ("COVALENT_", "XDG_")
PLUGINS = "covalent.executor.executor_plugins"
# What the service imports, the most basic first.
BASIC = (
    "toml",
    "psutil",
    "uvicorn",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.websockets.auto",
    "dask",
    "dask.distributed",
    "requests",
)
# After Covalent, which loads every plugin with it.
MODULES = (
    "covalent_dispatcher",
    "covalent_ui.app",
    "covalent_service.service",
    "covalent_service.cluster",
)


class Sought:
    """The first finder of modules: finds none, and notes what is sought."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        self.names.add(name.partition(".")[0])


class Unfit(Exception):
    """The environment cannot run the server; says why."""


def main() -> int:
    """Check, report, return the exit code."""
    gc.disable()  # as in the service
    _do_without_shared_memory()
    for name in [name for name in os.environ if name.startswith(FOREIGN_PREFIXES)]:
        del os.environ[name]
    sys.path.append(sys.path.pop(0))
    multiprocessing.set_start_method("fork")  # as in the service
    sought = Sought()
    sys.meta_path.insert(0, sought)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            for name in BASIC:
                _import(name)
            _import_covalent()
            for name in MODULES:
                _import(name)
            version = _ask_the_command_line()
            executors = _executors()
    except Unfit as error:
        print(error, file=sys.stderr)
        return 1
    if "--loaded" in sys.argv:
        print("\n".join(_loaded()))
    else:
        print(
            json.dumps(
                {
                    "covalent": version,
                    "executors": executors,
                    "database_revision": _database_revision(),
                    "sought": sorted(sought.names),
                }
            )
        )
    return 0


def _do_without_shared_memory() -> None:
    """An image that is being made has no /dev/shm for the account, nor a server that needs it.

    What is imported makes semaphores there, and uses none of them yet.
    """
    if not os.access("/dev/shm", os.W_OK):
        semaphore: Any = synchronize.SemLock
        semaphore.__init__ = lambda *_arguments, **_options: None


def _import_covalent() -> None:
    try:
        importlib.import_module("covalent")
    except Exception as error:
        _blame_plugin()
        raise Unfit(f"covalent cannot be imported: {_text(error)}") from None


def _blame_plugin() -> None:
    """Covalent imports every plugin with itself, and does not say which one failed."""
    for entry in importlib.metadata.entry_points(group=PLUGINS):
        try:
            importlib.import_module(entry.module)
        except Exception as error:
            if _is_own(entry):
                return
            package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown"
            raise Unfit(
                f"the executor plugin {entry.name!r} of the package {package} "
                f"cannot be imported: {_text(error)}"
            ) from None


def _is_own(entry: importlib.metadata.EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == "covalent"


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:
        raise Unfit(f"{name} cannot be imported: {_text(error)}") from None


def _ask_the_command_line() -> str:
    from covalent_dispatcher._cli import cli

    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            cli.cli.main(["--version"], prog_name="covalent", standalone_mode=False)
    except Exception as error:
        raise Unfit(f"the command line does not answer: {_text(error)}") from None
    version = importlib.metadata.version("covalent")
    if version not in output.getvalue():
        raise Unfit(f"the command line does not tell its version, but {output.getvalue()!r}")
    return version


def _executors() -> list[str]:
    from covalent.executor import _executor_manager

    found = sorted(_executor_manager.executor_plugins_map)
    missing = {"dask", "local"} - set(found)
    if missing:
        raise Unfit(f"Covalent's own executors are missing: {', '.join(sorted(missing))}")
    return found


def _database_revision() -> str | None:
    """The revision that the migrations of this Covalent lead to."""
    from covalent_dispatcher._db.datastore import workflow_db

    return workflow_db.current_head()


def _loaded() -> list[str]:
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    names = [file.partition("/site-packages/")[2] for file in files if file.endswith(".py")]
    return [name for name in dict.fromkeys(names) if name]


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # an ordinary exit unloads all that was imported, for nothing
