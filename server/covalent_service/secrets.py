"""What the server has to know, and its tasks, which inherit its variables, have not to."""

import os
from collections.abc import MutableMapping

DATABASE = "COVALENT_DATABASE_URL"  # may hold a password
# The number of an open file with its value: `covalentctl serve` passes no secret in the
# environment, which every process of the account could read from /proc.
DATABASE_DESCRIPTOR = "COVALENT_DATABASE_URL_FD"


def take(environ: MutableMapping[str, str]) -> None:
    """Put what was handed over where Covalent looks for it."""
    if number := environ.pop(DATABASE_DESCRIPTOR, None):
        with os.fdopen(int(number), encoding="utf-8") as file:
            environ[DATABASE] = file.read()


def forget(environ: MutableMapping[str, str]) -> None:
    """Take it away again, once Covalent has opened its database."""
    environ.pop(DATABASE, None)
