"""Dask's own web pages: none, or one server's on the terms of ours.

Each scheduler and each worker of Dask has some, at a port of its own, and gives them to whoever asks,
by whatever name: what a running task is at is among them.
"""

from typing import Any

from distributed.http import routing
from distributed.node import ServerNode
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPMessageDelegate
from tornado.web import RequestHandler

from covalent_service.callers import Door
from covalent_service.peers import Connection

NODE: Any = ServerNode  # a scheduler or a worker
ROUTING: Any = routing


def close() -> None:
    """Have what Dask starts in this process from now on listen for no browser."""
    NODE.start_http_server = _start_none


def guard(door: Door) -> None:
    """Have it answer those alone whom our own server answers."""
    start = NODE.start_http_server

    def start_guarded(node: Any, *arguments: Any, **options: Any) -> None:
        start(node, *arguments, **options)
        application = node.http_application
        find_handler = application.find_handler

        def find_guarded(request: Any, **details: Any) -> Any:
            def find(refusal: str) -> Any:
                if refusal:
                    return application.get_handler_delegate(request, _Refused, {"text": refusal})
                return find_handler(request, **details)

            return _Guarded(door, request, find)

        application.find_handler = find_guarded

    NODE.start_http_server = start_guarded


def _start_none(node: Any, routes: Any, *_arguments: Any, **_options: Any) -> None:
    """What Dask expects to have after it, with no port."""
    node.http_application = ROUTING.RoutingApplication(routes)
    node.http_server = HTTPServer(node.http_application)


class _Guarded(HTTPMessageDelegate):
    """Lets the request wait until it is known who asks; that may take a name service."""

    def __init__(self, door: Door, request: Any, find: Any) -> None:
        self._door, self._request, self._find = door, request, find
        self._found: Any = None

    async def headers_received(self, start_line: Any, headers: Any) -> None:
        """Decide, and hand the request on."""
        stream = self._request.connection.stream
        connection = Connection(stream.socket, stream.closed)
        self._found = self._find(
            await self._door.refusal(
                connection, connection.account(), headers.get("Host", ""), headers.get("Origin")
            )
        )
        waiting = self._found.headers_received(start_line, headers)
        if waiting is not None:
            await waiting

    def data_received(self, chunk: bytes) -> Any:
        """Hand it on."""
        return self._found.data_received(chunk)

    def finish(self) -> None:
        """Hand it on."""
        self._found.finish()

    def on_connection_close(self) -> None:
        """Hand it on, unless nothing was decided yet."""
        if self._found is not None:
            self._found.on_connection_close()


class _Refused(RequestHandler):
    def initialize(self, text: str) -> None:
        self._text = text

    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self._text)
