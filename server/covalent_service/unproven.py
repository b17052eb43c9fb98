"""The mark of an environment that has begun to migrate the database and not served from it since.

It outlives whatever ends the server, and tells `covalentctl` that there is something to go back
from (`src/service/starts.rs`).
"""

import sys
from pathlib import Path

from covalent_service.logs import SERVICE

FILE = "unproven"  # in the account's home


class Unproven:
    """The mark; it counts for the environment that set it alone."""

    def __init__(self, home: Path) -> None:
        self._file = home / FILE

    def set(self) -> None:
        """Before the first change to the database. Whatever a task has put there is replaced."""
        draft = self._file.with_name(f"{FILE}.new")
        draft.unlink(missing_ok=True)
        draft.write_text(sys.prefix)
        draft.replace(self._file)

    def is_set(self) -> bool:
        """Whether this environment set it and has not served since."""
        try:
            return self._file.read_text() == sys.prefix
        except OSError:
            return False

    def clear(self) -> None:
        """Once something was served from the database."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            SERVICE.warning("%s cannot be removed: %s", self._file, error.strerror)
