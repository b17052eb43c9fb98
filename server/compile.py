"""Compiles the modules below a directory, without running code of the packages: root may run it.

    python3 -I -S compile.py DIRECTORY... [--loaded LIST [--share SHARE]] [--prepared FOLDER]
    python3 -I -S compile.py --ahead CACHE --prepared FOLDER

LIST names modules by their paths relative to a site-packages directory: they come first, in this order.
With --share, no others are compiled, and of these that share: 0.5 stands for the first half. Modules in no
site-packages directory, those of the launcher, come before all.

What has its bytecode already is left alone. A file that is no Python of this version (a template, a test
of a syntax) is left out, as an import of it would say. The packages' own tests are left out too: a third
of all modules, which no service imports. One that cannot be read or written, as on a full disk, is named,
and the exit code is 1.

The second form works beside uv while that fetches wheels: it compiles each wheel that uv unpacks into its
CACHE, until FOLDER/under-way is removed. It writes into FOLDER, since uv may be about to link what it has
unpacked; the first form then takes from there what fits. It saves time and no more: what it does not
do, the first form does.
"""

import argparse
import itertools
import math
import multiprocessing
import os
import py_compile
import struct
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode

SITE_PACKAGES = "/site-packages/"
TESTS = {"test", "tests"}  # folders
CHUNK = 16  # files that a process takes at a time
# In uv's cache: a folder for each wheel, which is moved there when it is whole.
UNPACKED = "archive-v0"
UNDER_WAY = "under-way"
POLL = 0.02  # seconds, short beside the fetching of a wheel
NICENESS = 5  # uv and the server come first


def main(arguments: list[str]) -> int:
    """Compile with every core; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directories", nargs="*")
    parser.add_argument("--loaded", type=Path)
    parser.add_argument("--share", type=float)
    parser.add_argument("--prepared", type=Path)
    parser.add_argument("--ahead", type=Path)
    options = parser.parse_args(arguments)
    if options.ahead:
        ahead(options.ahead / UNPACKED, options.prepared)
        return 0
    names = options.loaded.read_text(encoding="utf-8").splitlines() if options.loaded else []
    number = len(names) if options.share is None else math.ceil(len(names) * options.share)
    if number == len(names):
        # Whoever waits for this waits for the server to be loaded as well, or for nothing.
        os.nice(NICENESS)
    others = options.share is None
    trouble = compile_all(options.directories, names[:number], others, options.prepared)
    if trouble:
        print(trouble, file=sys.stderr)
    return 1 if trouble else 0


def compile_all(
    directories: list[str], names: list[str], others: bool, prepared: Path | None
) -> str:
    """Compile what is named, and others if told so. Return what went wrong, if anything."""
    places = {name: place for place, name in enumerate(names)}
    found = []
    for path in itertools.chain.from_iterable(map(modules, directories)):
        _, inside, name = path.partition(SITE_PACKAGES)
        place = places.get(name, len(names)) if inside else -1
        bytecode = str(prepared / f"{name}c") if prepared and inside else ""
        is_wanted = place < len(names) or others or os.path.exists(bytecode)
        if is_wanted and not os.path.exists(cache_from_source(path)):
            found.append((place, path, bytecode))
    jobs = [(path, bytecode) for _, path, bytecode in sorted(found)]
    if not jobs:
        return ""
    pool = processes()
    try:
        trouble = next(filter(None, pool.map(compile_one, jobs, chunksize=CHUNK)), "")
    except BrokenProcessPool:
        trouble = "a compiling process was killed, perhaps because memory ran out"
    pool.shutdown(cancel_futures=True)
    return trouble


def ahead(unpacked: Path, prepared: Path) -> None:
    """Compile what is unpacked meanwhile, until nobody waits for it any more."""
    os.nice(NICENESS)
    parent = os.getppid()
    # uv has begun before this process has: when the mark was made, it had not.
    try:
        begun = (prepared / UNDER_WAY).stat().st_mtime_ns
    except FileNotFoundError:  # all is done
        return
    known: set[str] = set()
    targets = set()
    twice = set()  # paths that two wheels have: which of them counts, uv decides
    pool = processes()
    try:
        while (prepared / UNDER_WAY).exists() and os.getppid() == parent:
            new = entries(unpacked, begun) - known
            known |= new
            for folder in new:
                for path in modules(str(unpacked / folder)):
                    target = prepared / f"{os.path.relpath(path, unpacked / folder)}c"
                    if target in targets:
                        twice.add(target)
                    else:
                        targets.add(target)
                        pool.submit(py_compile.compile, path, str(target), quiet=2)
            time.sleep(POLL)
    except BrokenProcessPool:
        pass
    pool.shutdown(cancel_futures=True)
    for target in twice:
        target.unlink(missing_ok=True)


def entries(folder: Path, begun: int) -> set[str]:
    """What has come into a folder, which may not be there, from that time on (nanoseconds)."""
    if not folder.exists():
        return set()
    with os.scandir(folder) as found:
        return {entry.name for entry in found if entry.stat().st_ctime_ns >= begun}


def processes() -> ProcessPoolExecutor:
    """One for each core; not multiprocessing's own Pool, which waits for ever for one that was killed."""
    cores = len(os.sched_getaffinity(0))
    return ProcessPoolExecutor(cores, multiprocessing.get_context("fork"))


def modules(directory: str) -> Iterator[str]:
    """The path of each module but tests; symbolic links are not followed."""
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name not in TESTS]
        for name in names:
            if name.endswith(".py"):
                yield os.path.join(folder, name)


def compile_one(job: tuple[str, str]) -> str:
    """Compile one module, or take what was compiled ahead. Return what went wrong, if anything."""
    path, prepared = job
    try:
        if not take(prepared, path, cache_from_source(path)):
            # The time of a packaged file says little: that of its package's build is no later.
            mode = None if SITE_PACKAGES in path else PycInvalidationMode.CHECKED_HASH
            py_compile.compile(path, quiet=2, invalidation_mode=mode)
    except OSError as error:
        return f"{path}: {error}"
    return ""


def take(prepared: str, path: str, target: str) -> bool:
    """Put the bytecode in its place if an import would take it for this module's."""
    if not os.path.exists(prepared):
        return False
    status = os.stat(path)
    # As importlib writes it.
    numbers = (0, int(status.st_mtime), status.st_size)
    header = MAGIC_NUMBER + struct.pack("<3L", *(number & 0xFFFFFFFF for number in numbers))
    with open(prepared, "rb") as file:
        if file.read(len(header)) != header:
            return False
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.replace(prepared, target)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
