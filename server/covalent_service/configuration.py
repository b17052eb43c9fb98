"""covalent.conf, rewritten before each start so that the environment counts.

Covalent copies its environment into this file at the first start, and from then on takes
the file's word over the environment's. What has no variable is kept: the executors'
settings (the Settings page of the UI writes them), and the size of the Dask cluster.
"""

import importlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any, Protocol

from covalent_service.refusal import NEEDS_ATTENTION, Refusal

FROM_THE_ENVIRONMENT = ("sdk", "dispatcher", "dask", "workflow_data", "user_interface")
DASK_SIZE = ("mem_per_worker", "threads_per_worker", "num_workers")
# Of Dask's table: the cores of that start. Covalent notes as many workers where nobody has set a
# number, and would keep to it on a machine that has more or fewer.
CORES = "cores"
# The client's folders: their variables, and what they are below XDG_CACHE_HOME without.
CLIENT_FOLDERS = {
    "dispatch_cache_dir": ("COVALENT_DISPATCH_CACHE_DIR", "covalent/dispatches"),
    "results_dir": ("COVALENT_RESULTS_DIR", "covalent/results"),
}
MODE = 0o640

log = logging.getLogger(__name__)


class Codec(Protocol):
    """The two functions of the `toml` package that are needed."""

    def loads(self, text: str) -> dict[str, Any]: ...

    def dumps(self, value: dict[str, Any]) -> str: ...


def cores() -> int:
    """How many workers Covalent starts by itself."""
    try:
        count: int = importlib.import_module("dask.system").CPU_COUNT
    except ValueError as error:  # of a file in ~/.config/dask, among others
        reason = " ".join(str(error).split())
        raise Refusal(f"Dask cannot be loaded: {reason}", NEEDS_ATTENTION) from None
    return count


def rewrite(
    path: Path,
    heartbeat_interval: int,
    cores: int,
    workers: int | None = None,
    codec: Codec | None = None,
) -> None:
    """Replace the file by what is to be kept of it; move it aside if it cannot be read.

    `workers` is the number of Dask's workers where the environment says one.
    """
    codec = codec or importlib.import_module("toml")  # what Covalent itself uses
    try:
        new = kept(_load(path, codec), cores)
        if workers is not None:
            # As if the machine had as many cores: the number goes when the environment has none.
            new["dask"].update({"num_workers": workers, CORES: workers})
        # Covalent takes COVALENT_HEARTBEAT_INTERVAL as text, and fails to sleep that long.
        new["dispatcher"] = {"heartbeat_interval": heartbeat_interval}
        _replace(path, codec.dumps(new))
    except OSError as error:
        raise Refusal(
            f"cannot rewrite {path}: {error.strerror} ({error.filename}); "
            "it and its directory must belong to the user of the service",
            NEEDS_ATTENTION,
        ) from None


def kept(old: dict[str, Any], cores: int) -> dict[str, Any]:
    """The part of a configuration that no environment variable speaks for."""
    tables = _tables(old, "")
    new = {name: value for name, value in tables.items() if name not in FROM_THE_ENVIRONMENT}
    dask = tables.get("dask", {})
    new["dask"] = {name: dask[name] for name in DASK_SIZE if name in dask}
    if new["dask"].get("num_workers") == dask.get(CORES, cores):
        del new["dask"]["num_workers"]
    new["dask"][CORES] = cores
    if "executors" in new:
        executors = _tables(new["executors"], "executors.")
        new["executors"] = _without_defaults(executors, tables.get("sdk", {}))
    return new


def _tables(values: dict[str, Any], above: str) -> dict[str, dict[str, Any]]:
    """Only these: clients can write anything, and Covalent fails on anything else."""
    for name, value in values.items():
        if not isinstance(value, dict):
            log.warning("covalent.conf: %s%s is not a table of settings: dropped", above, name)
    return {name: value for name, value in values.items() if isinstance(value, dict)}


def _without_defaults(executors: dict[str, Any], sdk: dict[str, Any]) -> dict[str, Any]:
    """What was set for executors, without the folders that XDG_CACHE_HOME led to so far.

    Those of the client, in the same file, tell where that was, if they were not set themselves.
    """
    caches = []
    for name, (variable, default) in CLIENT_FOLDERS.items():
        folder = str(sdk.get(name, ""))
        if folder != os.environ.get(variable) and folder.endswith(f"/{default}"):
            caches.append(Path(folder).parent)
    defaults = [str(folder) for cache in caches for folder in (cache, cache / "workdir")]
    return {
        executor: {name: value for name, value in values.items() if value not in defaults}
        for executor, values in executors.items()
    }


def _load(path: Path, codec: Codec) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        return _set_aside(path, error)
    try:
        return codec.loads(text) if text.strip() else {}
    # A damaged file makes the toml package fail in many ways, not only with its own error.
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        return _set_aside(path, error)


def _set_aside(path: Path, error: Exception) -> dict[str, Any]:
    broken = path.with_name(path.name + ".broken")
    path.replace(broken)
    log.warning(
        "%s cannot be read (%s): moved to %s, started with the defaults of every executor",
        path,
        error,
        broken,
    )
    return {}


def _replace(path: Path, text: str) -> None:
    """Write so that nobody ever sees half a file."""
    descriptor, draft = tempfile.mkstemp(prefix=path.name + ".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), MODE)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
