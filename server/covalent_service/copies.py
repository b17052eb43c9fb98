"""How Covalent copies the files of a workflow: adjustments, each with its reason, as in adjustments.py."""

import functools
import os
import re
import shutil
from contextlib import suppress
from typing import Any

# The names that Covalent's Dask executor gives, in a folder that a client may have chosen.
MADE_BY_DASK = re.compile(r"(result|stdout|stderr)_[0-9a-f-]{36}-\d+\.(pkl|txt)")
READ_BY_DASK = re.compile(r"asset_[0-9a-f-]{36}-\d+_.+\.pkl")
# Bytes from which on a copy takes longer than it takes to think of two names for one file.
WORTH_A_NAME = 2**20


def plain_copies(asset: Any) -> None:
    """Covalent takes each path apart ten times, as an address of the web, to copy a file."""
    copy = asset.cp

    @functools.wraps(copy)
    def copy_plainly(source: str, target: str, *options: Any) -> None:
        paths = [address.removeprefix("file://") for address in (source, target)]
        if options or not all(map(_is_plain, paths)):
            copy(source, target, *options)
            return
        os.makedirs(os.path.dirname(paths[1]), exist_ok=True)
        shutil.copyfile(*paths)

    asset.cp = copy_plainly


def files_have_two_names(asset: Any) -> None:
    """Covalent copies each file that a Dask task reads or made, of any size.

    A large one is the workflow's file by another name: tasks only read the one, and write the other
    anew. For a redispatch, Covalent copies what a task made once more.
    """
    copy = asset.cp

    @functools.wraps(copy)
    def link_or_copy(source: str, target: str, *options: Any) -> None:
        old, new = (address.removeprefix("file://") for address in (source, target))
        if not options and _is_plain(old) and _is_plain(new):
            with suppress(OSError):  # such as another file system, or no file at all
                if os.path.exists(new) and os.path.samefile(old, new):
                    return
                if _may_be_one(old, new):
                    return _link(old, new)
                if os.lstat(new).st_nlink > 1:  # a copy would be written into its other name, too
                    os.remove(new)
        copy(source, target, *options)

    asset.cp = link_or_copy


def _may_be_one(old: str, new: str) -> bool:
    status = os.stat(old)
    if status.st_size < WORTH_A_NAME:
        return False
    if MADE_BY_DASK.fullmatch(os.path.basename(old)):
        return status.st_nlink == 1  # not handed over yet
    return bool(READ_BY_DASK.fullmatch(os.path.basename(new)))


def _link(old: str, new: str) -> None:
    os.makedirs(os.path.dirname(new), exist_ok=True)
    with suppress(FileNotFoundError):
        os.remove(new)
    os.link(old, new)


def _is_plain(path: str) -> bool:
    """Whether it says the same as an address and as a path."""
    return path == os.path.abspath(path) and not set(path) & set("%?#")
