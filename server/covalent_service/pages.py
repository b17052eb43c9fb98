"""Dask's own web pages: none, or one server's on the terms of ours.

Each scheduler and each worker of Dask has some, at a port of its own, and gives them to whoever asks,
by whatever name: what a running task is at is among them.
"""

from typing import Any

from distributed.http import routing
from distributed.node import ServerNode
from tornado.httpserver import HTTPServer
from tornado.web import RequestHandler

from covalent_service.same_origin import Access

NODE: Any = ServerNode  # a scheduler or a worker
ROUTING: Any = routing


def close() -> None:
    """Have what Dask starts in this process from now on listen for no browser."""
    NODE.start_http_server = _start_none


def guard(access: Access) -> None:
    """Have it answer those alone whom our own server answers."""
    start = NODE.start_http_server

    def start_guarded(node: Any, *arguments: Any, **options: Any) -> None:
        start(node, *arguments, **options)
        application = node.http_application
        find_handler = application.find_handler

        def find_allowed(request: Any, **details: Any) -> Any:
            headers = request.headers
            refusal = access.refusal(headers.get("Host", ""), headers.get("Origin"))
            if refusal:
                return application.get_handler_delegate(request, _Refused, {"text": refusal})
            return find_handler(request, **details)

        application.find_handler = find_allowed

    NODE.start_http_server = start_guarded


def _start_none(node: Any, routes: Any, *_arguments: Any, **_options: Any) -> None:
    """What Dask expects to have after it, with no port."""
    node.http_application = ROUTING.RoutingApplication(routes)
    node.http_server = HTTPServer(node.http_application)


class _Refused(RequestHandler):
    def initialize(self, text: str) -> None:
        self._text = text

    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self._text)
