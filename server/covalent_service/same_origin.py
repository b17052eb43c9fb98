"""Keeps web pages of other sites away from the server.

Covalent answers every page with `Access-Control-Allow-Origin`, so that whatever a person of
this machine has open in a browser could read workflows and dispatch code. Browsers tell the
page's site in `Origin`, and in `Host` the name that they looked the server up by; programs that
are no browsers, Covalent's clients among them, send no `Origin` and a `Host` of ours. Nor does a
browser send `Origin` where a page asks its own site, so that the name in `Host` counts too: whoever
owns the name of a page can make it point to this machine ("DNS rebinding").
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from ipaddress import ip_address
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Access:
    """Who is answered."""

    def __init__(self, names: Iterable[str], any_host: bool, machine: Iterable[str] = ()) -> None:
        """`names` are the server's own, and `machine` those that it has in common with others.

        With `any_host`, clients may call it by whatever has no dot, too.
        """
        self._sites = {name.lower() for name in names} - set(LOOPBACK)
        self._names = self._sites | {name.lower() for name in (*LOOPBACK, *machine)}
        self._any_host = any_host

    def refusal(self, host: str, origin: str | None) -> str:
        """Why a request with these two headers is not answered, in a sentence; empty if it is."""
        host = host.lower()
        if host and not self._is_ours(_name(host)):
            return _sentence("this server is not known by the name", _name(host), _name(host))
        if origin is None:
            return ""
        _, _, place = origin.lower().partition("://")
        if place and (place == host or _name(place) in self._sites):
            return ""
        return _sentence("a page of another site has no access:", origin, _name(place))

    def _is_ours(self, name: str) -> bool:
        if name in self._names or _is_address(name):
            return True
        # Clients' own networks may know it by names that this machine does not know; those that
        # anybody can own have a dot.
        return self._any_host and "." not in name


class SameOrigin:
    """An ASGI application around another one, which answers strangers itself."""

    def __init__(self, inner: Application, access: Access) -> None:
        self._inner = inner
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else ""
        if not refusal:
            await self._inner(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _answer(send, refusal)

    def _refusal(self, scope: Scope) -> str:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        return self._access.refusal(headers.get(b"host", ""), headers.get(b"origin"))


def _is_address(name: str) -> bool:
    """Whoever asked by it looked no name up."""
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _name(place: str) -> str:
    """`place` without its port."""
    name, separator, port = place.rpartition(":")
    return name if separator and port.isdigit() else place


def _sentence(what: str, value: str, name: str) -> str:
    return (
        f"Covalent: {what} {value!r}. If it should, add COVALENT_ALLOWED_HOSTS={name} "
        "to /etc/covalent/covalent.env, then: systemctl restart covalent\n"
    )


async def _answer(send: Send, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
