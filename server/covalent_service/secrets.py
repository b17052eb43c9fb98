"""What the server has to know, but not its tasks, which inherit its variables."""

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

DATABASE = "COVALENT_DATABASE_URL"  # may hold a password
# The number of an open file with its value: `covalentctl serve` passes no secret in the
# environment, which every process of the account could read from /proc.
DATABASE_DESCRIPTOR = "COVALENT_DATABASE_URL_FD"


def take(environ: MutableMapping[str, str]) -> str:
    """Take the address of the database out of the environment; empty if there is none."""
    if number := environ.pop(DATABASE_DESCRIPTOR, None):
        with os.fdopen(int(number), encoding="utf-8") as file:
            environ[DATABASE] = file.read()
    return environ.pop(DATABASE, "")


@contextmanager
def shown(address: str, environ: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Put it where Covalent looks for it, for as long as Covalent does.

    Nobody else's code may run meanwhile.
    """
    before = environ.get(DATABASE)
    if address:
        environ[DATABASE] = address
    try:
        yield
    finally:
        environ.pop(DATABASE, None)
        if before is not None:
            environ[DATABASE] = before
