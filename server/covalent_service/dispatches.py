"""Who dispatched what: told in the journal, since all that a workflow does is done as one account."""

import functools
import re
from collections.abc import Callable
from typing import Any

from covalent_service.callers import CALLER, Caller
from covalent_service.local_users import LocalUsers
from covalent_service.logs import SERVICE, printable

# Whatever else is in what a client or a proxy sends could pass for another part of the line.
ODD = re.compile(r"[^A-Za-z0-9._:@-]")


def report(app: Any, users: LocalUsers, name_of: Callable[[str], str | None]) -> None:
    """Have a line written for each workflow that Covalent starts on somebody's word.

    A trigger asks as the server's own account does.
    """
    start = app.start

    @functools.wraps(start)
    async def start_reported(dispatch_id: str) -> Any:
        caller, name = CALLER.get(), name_of(dispatch_id)
        started = await start(dispatch_id)
        if caller and name is not None:
            SERVICE.info(
                "dispatched: %s by %s from %s: %s",
                ODD.sub("?", printable(dispatch_id)),
                await _who(caller, users),
                ODD.sub("?", printable(caller.address)) or "nowhere",
                printable(name),
            )
        return started

    app.start = start_reported


async def _who(caller: Caller, users: LocalUsers) -> str:
    if caller.login:
        return f"the login {ODD.sub('?', printable(caller.login))}"
    if caller.uid is None:
        return "somebody without a login"
    return f"{printable((await users.account(caller.uid)).name)} (uid {caller.uid})"
