"""The account that the server or a worker runs as, and its tasks with it."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from covalent_service.refusal import NEEDS_ATTENTION, Refusal

NAME = "covalent"  # as the package makes it (sysusers.d)
# The units of the server and of a worker, as they are typed.
SERVER, WORKER = "covalent", "covalent-worker"
# systemd.exec(5): the number of the process that a unit started.
STARTED_BY_SYSTEMD = "SYSTEMD_EXEC_PID"


def account_name(number: int | None = None) -> str:
    """The name of this process's account, or of another; the number of one that has no name."""
    number = os.geteuid() if number is None else number
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container that runs as an account of its host's choice
        return str(number)


def check(home: Path, environ: Mapping[str, str], unit: str = SERVER) -> None:
    """Refuse an account that this service can't go on with.

    The unit's is the package's: it is what tmpfiles.d(5) gives the folders back to at every boot, and
    what covalentctl(1) reads and writes them as. Elsewhere it is any that has the folder.
    """
    name, service = account_name(), "worker" if unit == WORKER else "server"
    if environ.get(STARTED_BY_SYSTEMD) == str(os.getpid()) and name != NAME:
        raise Refusal(
            f"the unit runs the {service} as {name}, and it has to be {NAME}, whose folders are given "
            "back to it at every boot: take User= out of what changes the unit, which "
            f"`systemctl cat {unit}` shows, then: systemctl daemon-reload && systemctl start {unit}",
            NEEDS_ATTENTION,
        )
    try:
        owner = account_name(home.stat().st_uid)
    except FileNotFoundError:
        if environ.get(STARTED_BY_SYSTEMD) != str(os.getpid()):
            return  # it is made with the others
        raise Refusal(
            f"{home} is missing; type: systemd-tmpfiles --create covalent.conf "
            f"&& systemctl start {unit}",
            NEEDS_ATTENTION,
        ) from None
    except PermissionError as error:
        raise Refusal(
            f"the {service} runs as {name}, which cannot look into {error.filename}",
            NEEDS_ATTENTION,
        ) from None
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise Refusal(
            f"the {service} runs as {name}, which cannot read and write {home} of {owner}: "
            f"give the folder to {name}, or let HOME name one that is",
            NEEDS_ATTENTION,
        )
