"""`TarFile.extractall(filter="tar")` for Pythons that do not have it yet (before 3.11.4).

Not `backports.tarfile`, CPython's own: its last release, 1.2.0, is older than what CPython mended in
its filters in June 2025 (CVE-2025-4517 and others), all of it about links that lead outside. An
archive of Covalent's has files and folders alone, so here a link is refused, wherever it leads.
"""

import copy
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

# No set-user-id, set-group-id or sticky bit, nothing writable for group and others.
ALLOWED_MODE = 0o755


class UnsafeMember(tarfile.TarError):
    """A member that is not a file or a folder below the destination."""


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
            members = safe(archive if members is None else members)
        extractall(archive, path, members, numeric_owner=numeric_owner)

    return filtered


def safe(members: Iterable[tarfile.TarInfo]) -> Iterator[tarfile.TarInfo]:
    """Each member as it may be extracted; raises at the first that may not."""
    for member in members:
        new = copy.copy(member)
        new.name = member.name.lstrip("/")
        if not (member.isreg() or member.isdir()) or ".." in PurePosixPath(new.name).parts:
            raise UnsafeMember(f"{member.name!r} is not a file or a folder below the destination")
        new.mode = member.mode & ALLOWED_MODE
        yield new
