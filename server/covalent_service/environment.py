"""What this machine runs tasks with: it has to be the same on the server and on each worker.

A task travels as bytecode of one minor version of Python, with objects of the packages' classes.
"""

import hashlib
import importlib.metadata
import os
import re
import sys
import sysconfig
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).resolve().parent
# The variable in which `covalentctl serve` says the version of the package.
PACKAGE = "COVALENT_PACKAGE_VERSION"
# What a sentence names before it only counts.
NAMED = 3


def describe() -> dict[str, Any]:
    """Plain data, to be compared on another machine."""
    return {
        "python": "{}.{}".format(*sys.version_info),
        "packages": _packages(),
        "launcher": _digest(LAUNCHER),
        "package": os.environ.get(PACKAGE, ""),
    }


def difference(server: dict[str, Any], worker: dict[str, Any]) -> str:
    """What differs, in words for both sides; empty if a worker can run the server's tasks.

    Packages that the worker alone has do no harm.
    """
    if server["python"] != worker.get("python"):
        return f"Python {worker.get('python')} here, {server['python']} on the server"
    packages = dict(worker.get("packages") or {})
    wrong = [
        f"{name} {packages.get(name) or 'missing'} here, {version} on the server"
        for name, version in server["packages"].items()
        if packages.get(name) != version
    ]
    if server["launcher"] != worker.get("launcher"):
        there, here = server["package"] or "another", worker.get("package") or "another"
        wrong.insert(0, f"covalent-common {here} here, {there} on the server")
    more = f", and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return "; ".join(wrong[:NAMED]) + more


def _packages() -> dict[str, str]:
    """Names and versions of what is installed in the environment itself."""
    paths = sysconfig.get_paths()
    folders = list(dict.fromkeys((paths["purelib"], paths["platlib"])))
    found = importlib.metadata.distributions(path=folders)
    named = {_normalized(one.metadata["Name"]): one.version for one in found}
    return dict(sorted(named.items()))


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _digest(folder: Path) -> str:
    """Of the modules that tasks are run by, on both sides."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
