"""Who gets an answer from the server, and who does not."""

import asyncio
import unittest

import launcher  # noqa: F401

from covalent_service.same_origin import SameOrigin


async def _inner(scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})


def answer(kind="http", *, names=(), any_host=False, **headers):
    """The status of the answer, or the code of the close."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": kind,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(SameOrigin(_inner, names, any_host)(scope, None, send))
    return sent[0].get("status") or sent[0]["code"]


class SameOriginTest(unittest.TestCase):
    def test_clients_and_the_servers_own_pages_are_answered(self):
        self.assertEqual(answer(host="localhost:48008"), 200)
        self.assertEqual(answer(host="127.0.0.1:48008", origin="http://127.0.0.1:48008"), 200)
        self.assertEqual(answer(host="[::1]:48008", origin="http://[::1]:48008"), 200)
        self.assertEqual(answer(), 200)  # HTTP/1.0

    def test_pages_of_other_sites_are_refused(self):
        for origin in ("http://evil.example", "null", "", "http://localhost:3000", "file://"):
            with self.subTest(origin):
                self.assertEqual(answer(host="localhost:48008", origin=origin), 403)
        self.assertEqual(answer("websocket", host="localhost:48008", origin="http://evil"), 1008)

    def test_a_name_that_points_here_without_being_ours_is_refused(self):
        self.assertEqual(answer(host="evil.example:48008"), 403)
        self.assertEqual(answer(host="evil.example", origin="http://evil.example"), 403)

    def test_a_server_for_the_network_may_have_any_name_and_refuses_pages_all_the_same(self):
        self.assertEqual(answer(any_host=True, host="server:48008", origin="http://server:48008"), 200)
        self.assertEqual(answer(any_host=True, host="server:48008", origin="http://evil.example"), 403)

    def test_a_proxy_may_be_named(self):
        names = ("covalent.example.org",)
        origin = "https://covalent.example.org"
        self.assertEqual(answer(names=names, host="covalent.example.org", origin=origin), 200)
        self.assertEqual(answer(names=names, host="localhost:48008", origin=origin), 200)


if __name__ == "__main__":
    unittest.main()
