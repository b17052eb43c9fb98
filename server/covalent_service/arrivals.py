"""What each request came by, noted where uvicorn has a connection."""

from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from covalent_service.callers import CONNECTION
from covalent_service.peers import Connection

PROTOCOL: Any = AutoHTTPProtocol


class OverTcp(PROTOCOL):
    """A client's connection."""

    app_state: dict[str, Any]

    def connection_made(self, transport: Any) -> None:
        """Note it for its requests, and for the websocket that it may become."""
        near = transport.get_extra_info("socket")
        self.app_state = {**self.app_state, CONNECTION: Connection(near, transport.is_closing)}
        super().connection_made(transport)


class FromProxy(PROTOCOL):
    """A connection of the proxy's."""

    app_state: dict[str, Any]

    def connection_made(self, transport: Any) -> None:
        """Note that it is one."""
        self.app_state = {**self.app_state, CONNECTION: None}
        super().connection_made(transport)
