"""Who asks the server, and who of them is answered.

There are three kinds. An account of this machine arrives over TCP, and the kernel says which one it is.
Whoever arrives over TCP from elsewhere is nobody in particular, and is answered where the server was
opened to the network. Whoever arrives from the proxy, by a Unix socket that it alone can open, has
logged in there: that request was sent over https, and the proxy says by whom.
"""

import re
import shlex
from contextvars import ContextVar
from dataclasses import dataclass

from covalent_service.asgi import Application, Receive, Scope, Send
from covalent_service.local_users import LocalUsers
from covalent_service.peers import Connection
from covalent_service.same_origin import Access

# Where a request has what it came by (`arrivals.py`); None is the proxy.
CONNECTION = "covalent_service.connection"
# What may stand in an address that clients are given. They are given what they sent in `Host`.
PLACE = re.compile(r"[A-Za-z0-9._:\[\]-]+")
ADDRESS_HEADER, LOGIN_HEADER = b"x-forwarded-for", b"x-forwarded-user"


@dataclass
class Caller:
    """Who sent the request that is being answered."""

    uid: int | None = None  # of an account of this machine
    login: str = ""  # what the proxy says
    address: str = ""
    # http://localhost:48008, as the caller calls this server; empty once it has answered.
    site: str = ""


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


def site() -> str:
    """How whoever asked calls this server; empty where nobody asked, or said how."""
    caller = CALLER.get()
    return caller.site if caller else ""


class Door:
    """Who of those that arrive over TCP is answered."""

    def __init__(self, access: Access, users: LocalUsers, to_network: bool) -> None:
        self._access = access
        self._users = users
        self._to_network = to_network

    async def refusal(
        self, connection: Connection, uid: int | None, host: str, origin: str | None
    ) -> str:
        """Why a request is not answered, in a sentence; empty if it is.

        `uid` is what `connection.account()` says.
        """
        return await self._stranger(connection, uid) or self._access.refusal(host, origin)

    async def _stranger(self, connection: Connection, uid: int | None) -> str:
        if await self._users.lets_in(uid):
            return ""
        if uid is not None:
            return refusal_of((await self._users.account(uid)).name, self._users.group)
        if connection.client is not None and not connection.client.is_here:
            return "" if self._to_network else "Covalent: this server is for its own machine only\n"
        return "Covalent: nobody holds the other end of this connection any more\n"


class Callers:
    """An ASGI application around another one, which answers itself whom that one is not to answer."""

    def __init__(self, inner: Application, door: Door, by_proxy: Access) -> None:
        self._inner = inner
        self._door = door
        self._by_proxy = by_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._inner(scope, receive, send)
            return
        host, origin = _header(scope, b"host"), _header(scope, b"origin")
        connection = scope["state"].pop(CONNECTION)
        if connection is None:
            caller = _sent_by_proxy(scope, host or "")
            refusal = self._by_proxy.refusal(host or "", origin)
        else:
            caller = _arrived(connection, host or "")
            refusal = await self._door.refusal(connection, caller.uid, host or "", origin)
        if refusal:
            await _refuse(scope, send, refusal)
            return
        CALLER.set(caller)
        try:
            await self._inner(scope, receive, send)
        finally:
            # What goes on after the answer is the server's own, though it has this context.
            caller.site = ""


def refusal_of(name: str, group: str) -> str:
    """What an account is told that is not let in."""
    return (
        f"Covalent: the account {name} may not use this server. An administrator lets it in with: "
        f"sudo usermod -aG {shlex.quote(group)} {shlex.quote(name)}\n"
    )


def _sent_by_proxy(scope: Scope, host: str) -> Caller:
    return Caller(
        login=_header(scope, LOGIN_HEADER) or "",
        address=_header(scope, ADDRESS_HEADER) or "",
        site=_site("https", host),
    )


def _arrived(connection: Connection, host: str) -> Caller:
    client = connection.client
    return Caller(
        uid=connection.account(),
        address=str(client.address) if client else "",
        site=_site("http", host),
    )


def _site(scheme: str, host: str) -> str:
    return f"{scheme}://{host}" if PLACE.fullmatch(host) else ""


def _header(scope: Scope, name: bytes) -> str | None:
    """Its value; a header that is there twice has no value that anybody would send once."""
    values = [value for key, value in scope["headers"] if key.lower() == name]
    return ", ".join(value.decode("latin-1") for value in values) if values else None


async def _refuse(scope: Scope, send: Send, text: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
