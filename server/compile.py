"""Compiles the modules below a directory: `python3 -I -S compile.py DIRECTORY [LIST]`.

With LIST, a file of paths relative to a site-packages directory, only those of them that are
there. What has its bytecode already is left alone. Runs no code of the packages, so root may run
it. A file that is no Python of this version (a template, a test of a syntax) is left out, as an
import of it would say. The packages' own tests are left out too: a third of all modules, which
no service imports. One that cannot be read or written, as on a full disk, is named, and the
exit code is 1.
"""

import multiprocessing
import os
import py_compile
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import cache_from_source
from pathlib import Path

SITE_PACKAGES = "/site-packages/"
TESTS = {"test", "tests"}  # folders
CHUNK = 16  # files that a process takes at a time


def main(directory: str, names: str = "") -> int:
    """Compile with every core; return the exit code."""
    wanted = set(Path(names).read_text(encoding="utf-8").split("\n")) if names else None
    files = [
        path
        for path in modules(directory)
        if wanted is None or path.partition(SITE_PACKAGES)[2] in wanted
    ]
    # Not multiprocessing's own Pool, which waits for ever for a process that was killed.
    processes = ProcessPoolExecutor(
        len(os.sched_getaffinity(0)), multiprocessing.get_context("fork")
    )
    try:
        trouble = next(filter(None, processes.map(compile_one, files, chunksize=CHUNK)), "")
    except BrokenProcessPool:
        trouble = "a compiling process was killed, perhaps because memory ran out"
    processes.shutdown(cancel_futures=True)
    if trouble:
        print(trouble, file=sys.stderr)
    return 1 if trouble else 0


def modules(directory: str) -> Iterator[str]:
    """The path of each module but tests; symbolic links are not followed."""
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name not in TESTS]
        for name in names:
            if name.endswith(".py"):
                yield os.path.join(folder, name)


def compile_one(path: str) -> str:
    """Compile one module, unless that has been done. Return what went wrong, if anything."""
    try:
        if not os.path.exists(cache_from_source(path)):
            py_compile.compile(path, quiet=2)
    except OSError as error:
        return f"{path}: {error}"
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
