"""Who gets an answer from the server, and who does not."""

import unittest

import launcher  # noqa: F401
from covalent_service.same_origin import Access


def answer(*, names=(), any_host=False, machine=(), host="", origin=None):
    """The status of the answer."""
    return 403 if Access(names, any_host, machine).refusal(host, origin) else 200


class SameOriginTest(unittest.TestCase):
    def test_clients_and_the_servers_own_pages_are_answered(self):
        self.assertEqual(answer(host="localhost:48008"), 200)
        self.assertEqual(answer(host="127.0.0.1:48008", origin="http://127.0.0.1:48008"), 200)
        self.assertEqual(answer(host="[::1]:48008", origin="http://[::1]:48008"), 200)
        self.assertEqual(answer(), 200)  # HTTP/1.0

    def test_pages_of_other_sites_are_refused(self):
        strangers = (
            "http://evil.example",
            "http://localhost:3000",
            "null",
            "",
            "file://",
            "http://[",
        )
        for origin in strangers:
            with self.subTest(origin):
                self.assertEqual(answer(host="localhost:48008", origin=origin), 403)

    def test_a_name_that_points_here_without_being_ours_is_refused(self):
        self.assertEqual(answer(host="evil.example:48008"), 403)
        self.assertEqual(answer(host="evil.example", origin="http://evil.example"), 403)

    def test_nobody_owns_an_address(self):
        for place in ("127.0.0.2:48008", "192.0.2.1:48008", "192.0.2.1", "[2001:db8::1]:48008"):
            with self.subTest(place):
                self.assertEqual(answer(host=place), 200)
                self.assertEqual(answer(host=place, origin=f"http://{place}"), 200)
        self.assertEqual(answer(host="192.0.2.1:48008", origin="http://192.0.2.1:3000"), 403)
        self.assertEqual(answer(host="192.0.2.1.evil.example"), 403)

    def test_a_server_for_the_network_may_have_any_name_without_a_dot_and_no_stranger(self):
        def ask(host, **headers):
            return answer(any_host=True, machine=("server.example.org",), host=host, **headers)

        for name in ("server:48008", "server.example.org:48008"):
            self.assertEqual(ask(name), 200)
            self.assertEqual(ask(name, origin=f"http://{name}"), 200)
            self.assertEqual(ask(name, origin="http://evil.example"), 403)
        self.assertEqual(ask("server.example.org", origin="http://server.example.org:3000"), 403)
        # A page of that name, which points to this machine by now, and asks its own site.
        self.assertEqual(ask("evil.example:48008"), 403)
        self.assertEqual(ask("evil.example:48008", origin="http://evil.example:48008"), 403)

    def test_a_proxy_may_be_named(self):
        names = ("covalent.example.org",)
        origin = "https://covalent.example.org"
        self.assertEqual(answer(names=names, host="covalent.example.org", origin=origin), 200)
        self.assertEqual(answer(names=names, host="localhost:48008", origin=origin), 200)


if __name__ == "__main__":
    unittest.main()
