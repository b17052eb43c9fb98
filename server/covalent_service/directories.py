"""The directories that Covalent expects, or makes too late, or with everybody's rights."""

import errno
import os
from pathlib import Path

from covalent_service import packages
from covalent_service.account import SERVER, account_name
from covalent_service.refusal import NEEDS_ATTENTION, Refusal
from covalent_service.settings import Settings

MODE = 0o750


def create(settings: Settings) -> None:
    """Make what is missing. What exists keeps its owner and its mode."""
    _create(settings.executor_dir)
    create_own(
        settings.work_dir,
        settings.config_file.parent,
        settings.data_dir,
        settings.cache_dir,
        settings.log_dir,
        settings.database_file.parent,
    )


def create_own(*own: Path, unit: str = SERVER) -> None:
    """Make what the service writes to, and where tasks install."""
    # A directory that is missing when Python first searches it is never looked at again.
    for directory in (*own, *map(Path, packages.directories(os.environ))):
        _create(directory, unit)
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            raise _read_only(directory, unit)
        # Otherwise the server is ready, and the first workflow fails.
        if directory in own and not os.access(directory, os.W_OK | os.X_OK):
            raise _not_ours(directory, unit)


def _create(directory: Path, unit: str = SERVER) -> None:
    try:
        directory.mkdir(mode=MODE, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno == errno.EROFS:
            raise _read_only(directory, unit) from None
        raise Refusal(
            f"cannot create the directory {directory}: {error.strerror} ({error.filename}); "
            "create it and give it to the user of the service",
            NEEDS_ATTENTION,
        ) from None


def _not_ours(directory: Path, unit: str) -> Refusal:
    name = account_name()
    return Refusal(
        f"the user of the service ({name}) cannot write to {directory}; type: "
        f"chown {name} {directory} && chmod u+rwx {directory} && systemctl start {unit}",
        NEEDS_ATTENTION,
    )


def _read_only(directory: Path, unit: str) -> Refusal:
    return Refusal(
        f"{directory} is on a read-only file system, or outside of what the service may write: "
        "create it, give it to the user of the service, and let the unit have it "
        f"(systemctl edit {unit}, [Service], ReadWritePaths={directory})",
        NEEDS_ATTENTION,
    )
