"""Who is answered, and what is known of who asked."""

import asyncio
import unittest
from ipaddress import ip_address

import launcher  # noqa: F401
from covalent_service import callers
from covalent_service.callers import CONNECTION, Callers, Door
from covalent_service.local_users import Account
from covalent_service.peers import End
from covalent_service.same_origin import Access, AccessByProxy

NAME = "server.example.org"


class Users:
    """alice is let in, bob is not."""

    group = "covalent-users"
    names = {1001: "alice", 1002: "bob"}

    async def lets_in(self, uid):
        return not self.group or uid in (0, 1001)

    async def account(self, uid):
        return Account(self.names.get(uid, str(uid)), uid == 1001)


class From:
    """A connection over TCP."""

    def __init__(self, uid, address="127.0.0.1"):
        self.uid = uid
        self.client = End(ip_address(address), 1) if address else None

    def account(self):
        return self.uid


class Asked(unittest.TestCase):
    def setUp(self):
        self.users = Users()
        self.seen = []
        self.kept = []

    async def inner(self, _scope, _receive, send):
        self.seen.append((callers.CALLER.get(), callers.site()))

        async def later():
            await asyncio.sleep(0.01)
            self.kept.append(callers.site())

        self.after = asyncio.create_task(later())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def ask(self, connection, kind="http", to_network=False, host=("localhost:48008",), **headers):
        """The answer's status, or the code that a websocket is closed with, and the body."""
        sent = []

        async def send(message):
            sent.append(message)

        pairs = [(b"host", value.encode()) for value in host]
        pairs += [
            (name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()
        ]
        scope = {"type": kind, "headers": pairs, "state": {CONNECTION: connection}}
        door = Door(Access((NAME,), to_network), self.users, to_network)
        by_proxy = AccessByProxy((NAME,), False, ("server",))

        async def run():
            await Callers(self.inner, door, by_proxy)(scope, None, send)
            if self.seen:
                await self.after

        asyncio.run(run())
        status = sent[0].get("status") or sent[0]["code"]
        return status, sent[1]["body"].decode() if len(sent) > 1 else ""


class Local(Asked):
    def test_a_member_is_answered_and_another_is_told_what_to_type(self):
        self.assertEqual(self.ask(From(1001))[0], 200)
        status, text = self.ask(From(1002))
        self.assertEqual(status, 403)
        self.assertIn("the account bob may not", text)
        self.assertIn("sudo usermod -aG covalent-users bob\n", text)
        self.assertEqual(self.ask(From(1001), "websocket")[0], 200)
        self.assertEqual(self.ask(From(1002), "websocket"), (1008, ""))
        self.assertEqual(len(self.seen), 2)

    def test_what_the_line_to_type_is_made_of_is_quoted(self):
        self.users.names = {1002: "CORP\\bob; reboot"}
        self.assertIn("-aG covalent-users 'CORP\\bob; reboot'\n", self.ask(From(1002))[1])

    def test_nobody_is_refused(self):
        for client in ("127.0.0.1", "::1", ""):
            status, text = self.ask(From(None, client))
            self.assertEqual(status, 403)
            self.assertIn("nobody holds the other end", text)

    def test_a_member_does_not_bring_another_sites_page_along(self):
        self.assertEqual(self.ask(From(1001), origin="http://evil.example")[0], 403)
        self.assertEqual(self.ask(From(1001), host=("evil.example",))[0], 403)

    def test_what_is_said_in_headers_is_believed_of_nobody(self):
        says = {
            "x_forwarded_user": "root",
            "x_forwarded_for": "192.0.2.9",
            "x_forwarded_proto": "https",
        }
        self.assertEqual(self.ask(From(1002), **says)[0], 403)
        self.assertEqual(self.ask(From(1001), **says)[0], 200)
        caller, site = self.seen[0]
        self.assertEqual((caller.uid, caller.login, caller.address), (1001, "", "127.0.0.1"))
        self.assertEqual(site, "http://localhost:48008")

    def test_the_door_may_be_left_open(self):
        self.users.group = ""
        for uid in (1002, None):
            self.assertEqual(self.ask(From(uid))[0], 200)
        self.assertEqual(self.ask(From(None), origin="http://evil.example")[0], 403)


class Network(Asked):
    # An address of nobody's (RFC 5737), and so none of this machine's.
    ELSEWHERE = "192.0.2.7"

    def test_is_answered_where_the_server_is_open_to_it(self):
        self.assertEqual(self.ask(From(None, self.ELSEWHERE), to_network=True)[0], 200)
        status, text = self.ask(From(None, self.ELSEWHERE))
        self.assertEqual(status, 403)
        self.assertIn("for its own machine only", text)

    def test_a_user_of_the_machine_does_not_pass_for_it(self):
        self.assertEqual(self.ask(From(1002, self.ELSEWHERE), to_network=True)[0], 403)
        self.assertEqual(self.ask(From(1001, self.ELSEWHERE), to_network=True)[0], 200)
        # Gone, but the address is this machine's own.
        self.assertEqual(self.ask(From(None), to_network=True)[0], 403)


class Proxy(Asked):
    def ask_by_it(self, host, *more, **headers):
        return self.ask(None, host=(host, *more), **headers)[0]

    def test_who_has_logged_in_there_is_known_by_what_it_says(self):
        says = {"x_forwarded_user": "alice", "x_forwarded_for": "192.0.2.7"}
        self.assertEqual(self.ask_by_it(f"{NAME}:48443", **says), 200)
        caller, site = self.seen[0]
        self.assertEqual((caller.uid, caller.login, caller.address), (None, "alice", "192.0.2.7"))
        self.assertEqual(site, f"https://{NAME}:48443")

    def test_a_page_has_to_be_of_this_very_site(self):
        place = f"{NAME}:48443"
        self.assertEqual(self.ask_by_it(place, origin=f"https://{place}"), 200)
        self.assertEqual(self.ask_by_it(place, origin=f"https://{place.upper()}"), 200)
        for origin in (
            "https://evil.example",
            f"http://{place}",
            f"https://{NAME}",
            f"https://{NAME}:48444",
            f"https://x.{place}",
            "null",
            "",
        ):
            with self.subTest(origin):
                self.assertEqual(self.ask_by_it(place, origin=origin), 403)
                self.assertEqual(self.ask(None, "websocket", host=(place,), origin=origin)[0], 1008)

    def test_it_has_to_be_called_by_a_name_of_its_own(self):
        for host in (NAME, "server", "192.0.2.10:48443", "[2001:db8::1]:48443"):
            with self.subTest(host):
                self.assertEqual(self.ask_by_it(host), 200)
        for host in (
            "evil.example",
            "localhost",
            "localhost:48443",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "",
        ):
            with self.subTest(host):
                self.assertEqual(self.ask_by_it(host), 403)
        self.assertEqual(self.ask(None, host=())[0], 403)
        self.assertEqual(self.ask_by_it(NAME, "evil.example"), 403)
        self.assertEqual(self.ask_by_it("evil.example", NAME), 403)


class Site(Asked):
    def test_is_what_the_caller_calls_the_server_until_it_is_answered(self):
        for host in ("localhost:9000", "[::1]:48008", "127.0.0.1"):
            self.ask(From(1001), host=(host,))
            self.assertEqual(self.seen[-1][1], f"http://{host}")
        self.assertEqual(self.kept, ["", "", ""])

    def test_is_unknown_where_that_is_no_place(self):
        self.ask(From(1001), host=())
        self.ask(From(1001), host=("a/b?c",), to_network=True)
        self.assertEqual([site for _, site in self.seen], ["", ""])


if __name__ == "__main__":
    unittest.main()
