import asyncio
import unittest

import launcher  # noqa: F401
from covalent_service.interface import OwnPages

PAGE = (
    b'<html><link rel="icon" href="/favicon.ico"/>'
    b'<link rel="stylesheet" href="https://fonts.example/css?a=b"/>'
    b'<link rel="preconnect" href="//fonts.example" crossorigin/>'
    b'<LINK HREF=http://fonts.example><link href="/static/main.css" rel="stylesheet"></html>'
)
OWN = (
    b'<html><link rel="icon" href="/favicon.ico"/>'
    b'<link href="/static/main.css" rel="stylesheet"></html>'
)


def answer(kind, *parts):
    """What arrives of an answer: its headers, and its body."""
    sent = []

    async def inner(_scope, _receive, send):
        headers = [(b"Content-Type", kind), (b"Content-Length", b"%d" % len(b"".join(parts)))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, part in enumerate(parts, 1):
            message = {"type": "http.response.body", "body": part}
            await send({**message, "more_body": True} if number < len(parts) else message)

    async def send(message):
        sent.append(message)

    asyncio.run(OwnPages(inner)({"type": "http"}, None, send))
    headers = {name.lower(): value for name, value in sent[0]["headers"]}
    return headers, [message["body"] for message in sent[1:]]


class OwnPagesTest(unittest.TestCase):
    def test_a_page_links_to_no_other_host_and_may_load_from_none(self):
        for parts in ((PAGE,), (PAGE[:70], PAGE[70:], b"")):
            headers, body = answer(b"text/html; charset=utf-8", *parts)
            self.assertEqual(body, [OWN])
            self.assertEqual(headers[b"content-length"], b"%d" % len(OWN))
            self.assertIn(b"default-src 'self'", headers[b"content-security-policy"])

    def test_whatever_is_no_page_is_passed_on_as_it_comes(self):
        headers, body = answer(b"application/json", PAGE, b"more")
        self.assertEqual(body, [PAGE, b"more"])
        self.assertNotIn(b"content-security-policy", headers)


if __name__ == "__main__":
    unittest.main()
