"""What `TarFile.extractall(filter="tar")` does, for Pythons that do not have it yet."""

import copy
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# No set-user-id, set-group-id or sticky bit, nothing writable for group and others.
ALLOWED_MODE = 0o755


class UnsafeMember(tarfile.TarError):
    """A member that would be written, or would lead, outside of the destination."""


def with_tar_filter(extractall: Callable[..., None]) -> Callable[..., None]:
    """An `extractall` that knows `filter="tar"`, made of one that knows no filter."""

    def filtered(
        archive: tarfile.TarFile,
        path: str = ".",
        members: Iterable[tarfile.TarInfo] | None = None,
        *,
        numeric_owner: bool = False,
        filter: str | None = None,
    ) -> None:
        if filter not in (None, "tar"):
            raise ValueError(f"filter {filter!r} is not known, only 'tar'")
        if filter == "tar":
            members = safe(archive if members is None else members, path)
        extractall(archive, path, members, numeric_owner=numeric_owner)

    return filtered


def safe(members: Iterable[tarfile.TarInfo], destination: Any) -> Iterator[tarfile.TarInfo]:
    """Each member as it may be extracted; raises at the first that may not.

    Lazy, so that each is judged after those before it have been extracted: a link among
    them changes where a path leads. Stricter than Python's filter in one point: a link that
    leads outside is refused itself, not only what would be written through it.
    """
    root = os.path.realpath(destination)
    for member in members:
        new = copy.copy(member)
        new.name = member.name.lstrip("/" + os.sep)
        _require_inside(root, new.name, member)
        if member.issym():
            _require_inside(root, os.path.join(os.path.dirname(new.name), member.linkname), member)
        elif member.islnk():
            _require_inside(root, member.linkname, member)
        new.mode = member.mode & ALLOWED_MODE
        yield new


def _require_inside(root: str, name: str, member: tarfile.TarInfo) -> None:
    target = os.path.realpath(os.path.join(root, name))
    if os.path.commonpath([root, target]) != root:
        raise UnsafeMember(f"{member.name!r} would lead to {target}, outside of {root}")
