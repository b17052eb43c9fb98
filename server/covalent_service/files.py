"""The files of the account that a start opens, and tasks can replace by what is none."""

import os
import stat
from pathlib import Path

from covalent_service import interrupted, logs, unproven
from covalent_service.refusal import NEEDS_ATTENTION, Refusal
from covalent_service.settings import Settings


def move_aside(settings: Settings) -> None:
    """Rename what is not a file, which would be waited for (a pipe), or fail whoever opens it."""
    names = (
        settings.config_file,
        settings.config_file.with_name(settings.config_file.name + ".lock"),
        settings.database_file,
        settings.log_dir / logs.FILE_NAME,
        settings.cache_dir / "heartbeat",
        settings.home / interrupted.FILE,
        settings.home / unproven.FILE,
    )
    for path in names:
        try:
            if stat.S_ISREG(os.stat(path).st_mode):
                continue
        except FileNotFoundError:
            continue
        except OSError as error:  # such as a circle of links
            _rename(path, error.strerror or "")
        else:
            _rename(path, "not a file")


def _rename(path: Path, why: str) -> None:
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.broken.{number}")):
        number += 1
    try:
        path.rename(aside)
    except OSError as error:
        raise Refusal(
            f"{path} cannot be opened ({why}), nor moved aside ({error.strerror}): "
            "remove it, then: systemctl start covalent",
            NEEDS_ATTENTION,
        ) from None
    logs.SERVICE.warning("%s cannot be opened (%s): moved to %s", path, why, aside)
