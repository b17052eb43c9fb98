"""Keeps web pages of other sites away from the server.

Covalent answers every page with `Access-Control-Allow-Origin`, so that whatever a person of
this machine has open in a browser could read workflows and dispatch code. Browsers tell the
page's site in `Origin`, and in `Host` the name that they looked the server up by; programs that
are no browsers, Covalent's clients among them, send no `Origin` and a `Host` of ours. Nor does a
browser send `Origin` where a page asks its own site, so that the name in `Host` counts too: whoever
owns the name of a page can make it point to this machine ("DNS rebinding").
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Access:
    """Which requests are answered that arrive over TCP."""

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
        if name in self._names or _address(name):
            return True
        # Clients' own networks may know it by names that this machine does not know; those that
        # anybody can own have a dot.
        return self._any_host and "." not in name


class AccessByProxy(Access):
    """Which are answered that arrive from a proxy, where people have logged in over https.

    The login comes with a page's requests by itself, whatever page it is. So `Origin` has to be this
    very site: one of plain http is what somebody between the browser and the server can make up.
    """

    def refusal(self, host: str, origin: str | None) -> str:
        """Why not, as above."""
        host = host.lower()
        address = _address(_name(host))
        if not host or _name(host) in LOOPBACK or (address and address.is_loopback):
            return (
                f"Covalent: a request by way of the proxy has to name this server, not {host!r}\n"
            )
        if not self._is_ours(_name(host)):
            return _sentence("this server is not known by the name", _name(host), _name(host))
        if origin is None or origin.lower() == f"https://{host}":
            return ""
        return f"Covalent: a page of another site has no access: {origin!r}\n"


def _address(name: str) -> IPv4Address | IPv6Address | None:
    """Whoever asked by an address looked no name up."""
    try:
        return ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _name(place: str) -> str:
    """`place` without its port."""
    name, separator, port = place.rpartition(":")
    return name if separator and port.isdigit() else place


def _sentence(what: str, value: str, name: str) -> str:
    return (
        f"Covalent: {what} {value!r}. If it should, add COVALENT_ALLOWED_HOSTS={name} "
        "to /etc/covalent/covalent.env, then: systemctl restart covalent\n"
    )
