"""The pages of the UI: they ask no other host for anything."""

import re

from covalent_service.asgi import Application, Message, Receive, Scope, Send

FOREIGN_LINK = re.compile(rb"""<link\b[^>]*\bhref=["']?(?:https?:)?//[^>]*>""", re.IGNORECASE)
# What a page may load and ask, whatever is in it. Its styles are made by its script.
POLICY = (
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)


class OwnPages:
    """An ASGI application around another one.

    Covalent's page has its fonts from another company's host, which so learns who works with it and
    when. Without a way there, a browser waits for them.
    """

    def __init__(self, inner: Application) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._inner(scope, receive, _Page(send).take)
        else:
            await self._inner(scope, receive, send)


class _Page:
    """An answer on its way; one that is a page waits until it is whole."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._pass_on(self._start)

    async def _pass_on(self, start: Message) -> None:
        body = FOREIGN_LINK.sub(b"", self._body)
        headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
        headers += [
            (b"content-length", str(len(body)).encode()),
            (b"content-security-policy", POLICY),
        ]
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _is_page(start: Message) -> bool:
    headers = {name.lower(): value for name, value in start["headers"]}
    return bytes(headers.get(b"content-type", b"")).startswith(b"text/html")
