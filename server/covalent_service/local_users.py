"""Which accounts of this machine are let in."""

import asyncio
import grp
import os
import pwd
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

# Whoever is in one of them may become root.
ADMINISTRATORS = ("sudo", "wheel")
# Where a change counts at once.
FILES = ("/etc/passwd", "/etc/group")
# Seconds after which a change counts that was made elsewhere, as in a directory.
VALIDITY = 1
# A name service that is slow holds up those alone whom it is asked about.
THREADS = 4
# Answers: a user with a range of subuid(5) has tens of thousands of numbers to ask with.
KEPT = 1000


@dataclass(frozen=True)
class Account:
    """What the name services say."""

    name: str  # its number where it has none
    is_member: bool


@dataclass(frozen=True)
class _Answer:
    account: Account
    files: Any
    until: float


class LocalUsers:
    """Root, the server's own account, the members of a group, and those who may become root."""

    def __init__(self, group: str) -> None:
        """Without a group everybody is let in."""
        self.group = group
        self._groups = (group, *ADMINISTRATORS)
        self._answers: dict[int, _Answer] = {}
        self._asked: dict[Any, asyncio.Future[Account]] = {}
        self._threads = ThreadPoolExecutor(THREADS, "accounts")

    async def lets_in(self, uid: int | None) -> bool:
        """Whether that account may use the server now."""
        if not self.group or uid in (0, os.geteuid()):
            return True
        return uid is not None and (await self.account(uid)).is_member

    async def account(self, uid: int) -> Account:
        """What is known of it, if that is no older than it may be; else the name services are asked."""
        files, now = _state_of_files(), time.monotonic()
        known = self._answers.get(uid)
        if known and known.files == files and now < known.until:
            return known.account
        question = uid, files
        if question not in self._asked:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._threads, _look_up, uid, self._groups)
            asked.add_done_callback(lambda _: self._asked.pop(question))
            self._asked[question] = asked
        # Others may wait for the same answer.
        account = await asyncio.shield(self._asked[question])
        if len(self._answers) >= KEPT:
            self._answers.clear()
        self._answers[uid] = _Answer(account, files, now + VALIDITY)
        return account


def _state_of_files() -> tuple[Any, ...]:
    return tuple(map(_state_of, FILES))


def _state_of(file: str) -> Any:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _look_up(uid: int, names: tuple[str, ...]) -> Account:
    try:
        person = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), is_member=False)
    groups = set()
    for name in names:
        try:
            group = grp.getgrnam(name)
        except KeyError:
            continue
        # Enough for those in the files, whatever a directory takes for the list below.
        if person.pw_gid == group.gr_gid or person.pw_name in group.gr_mem:
            return Account(person.pw_name, is_member=True)
        groups.add(group.gr_gid)
    if groups:
        groups &= set(os.getgrouplist(person.pw_name, person.pw_gid))
    return Account(person.pw_name, is_member=bool(groups))
