"""By which address a client calls the server, what it is told then, and what is noted of it."""

import http.client
import os
import re
import socket
import threading
import unittest
from pathlib import Path

import uvicorn

import own_home  # noqa: F401
from served import Served

# isort: split
from covalent_service import account

DISPATCH = """
import covalent as ct

@ct.electron(executor="local")
def double(number): return 2 * number

@ct.electron(executor="local")
@ct.lattice(executor="local", workflow_executor="local")
def inner(number): return double(number)

@ct.lattice(executor="local", workflow_executor="local")
def workflow(number): return double(inner(number))

workflow.__name__ = "twice\\nby root (uid 0)"
dispatch_id = ct.dispatch(workflow)(5)
print(dispatch_id, ct.get_result(dispatch_id, wait=True).result)
"""


class Relay:
    """Another port of this machine that leads to the server's, as a tunnel does."""

    def __init__(self, port):
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listener.close()

    def _serve(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection(("127.0.0.1", self._target))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()


class ByUnixSocket(http.client.HTTPConnection):
    """What a proxy does."""

    def __init__(self, path):
        super().__init__("proxied")
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


class Access(unittest.TestCase):
    def asked_by_proxy(self, path, question, host, **headers):
        connection = ByUnixSocket(path)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", question, headers={"Host": host, **headers})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def test_clients_are_sent_where_they_came_from(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            path = server.home / "socket"
            server.start(COVALENT_PROXY_SOCKET=str(path))
            relay = Relay(server.port)
            self.addCleanup(relay.close)
            told = server.client(DISPATCH, COVALENT_SVC_PORT=str(relay.port))
            dispatch_id, result = told.split()
            self.assertEqual(result, "20")
            self.assertGreater(relay.connections, 10)
            question = f"/api/v2/dispatches/{dispatch_id}"
            name = f"{socket.gethostname()}:48443"
            status, by_proxy = self.asked_by_proxy(path, question, name)
            self.assertEqual(status, 200)
            for manifest, site in (
                (server.get(question), f"http://127.0.0.1:{server.port}"),
                (
                    server.get(question, Host=f"localhost:{relay.port}"),
                    f"http://localhost:{relay.port}",
                ),
                (by_proxy, f"https://{name}"),
            ):
                found = set(re.findall(r'"(https?://[^"/]+)/api/v0/files', manifest))
                self.assertEqual(found, {site})

    def test_what_a_proxy_passes_on_is_answered_by_its_rules(self):
        question = "/api/v1/dispatches/list?count=1"
        with Served(COVALENT_DISABLE_DASK="1", COVALENT_ALLOWED_HOSTS="c.example.org") as server:
            path = server.home / "socket"
            server.start(COVALENT_PROXY_SOCKET=str(path))
            own = {"Origin": "https://c.example.org"}
            self.assertEqual(self.asked_by_proxy(path, question, "c.example.org", **own)[0], 200)
            for host, headers in (
                ("localhost", {}),
                ("evil.example", {}),
                ("c.example.org", {"Origin": "http://c.example.org"}),
                ("c.example.org", {"Origin": "https://evil.example"}),
            ):
                status, text = self.asked_by_proxy(path, question, host, **headers)
                self.assertEqual((status, text.partition(":")[0]), (403, "Covalent"))
            # The next server has it, too.
            server.stop()
            server.start(COVALENT_PROXY_SOCKET=str(path))
            self.assertEqual(self.asked_by_proxy(path, question, "c.example.org")[0], 200)

    def test_who_dispatched_what_is_told(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            dispatch_id, _ = server.client(DISPATCH).split()
            lines = [line for line in server.output.splitlines() if "dispatched:" in line]
            who = f"{account.account_name()} (uid {os.geteuid()})"
            self.assertEqual(
                lines,
                [
                    f"covalent: dispatched: {dispatch_id} by {who} from 127.0.0.1: "
                    "twice?by root (uid 0)"
                ],
            )

    def test_a_server_without_a_login_says_so_at_every_start(self):
        opened = {"COVALENT_SERVER_IFACE_ANY": "1", "COVALENT_DISPATCHER_ADDR": "localhost"}
        for variables, warnings in (
            ({}, 0),
            (opened, 1),
            ({"COVALENT_LOCAL_GROUP": ""}, 1),
            ({**opened, "COVALENT_LOCAL_GROUP": ""}, 2),
        ):
            with self.subTest(variables), Served(COVALENT_DISABLE_DASK="1", **variables) as server:
                server.start()
                self.assertEqual(server.output.count(" runs code as "), warnings, server.output)

    def test_uvicorn_still_believes_what_is_forwarded(self):
        config = uvicorn.Config("app:app", log_config=None)
        self.assertTrue(config.proxy_headers)
        self.assertIn("127.0.0.1", config.forwarded_allow_ips)

    def test_covalent_still_has_fonts_from_elsewhere(self):
        from covalent_ui import app

        page = Path(app.__file__).parent / app.WEBAPP_PATH / "index.html"
        self.assertIn("https://fonts.googleapis.com", page.read_text())
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            for path in ("/", "/settings", "/index.html", "/3f5c"):
                with server.answer(path) as answer:
                    self.assertIn("default-src 'self'", answer.headers["Content-Security-Policy"])
                    text = answer.read().decode()
                self.assertIn('<div id="root">', text)
                self.assertEqual(re.findall(r'(?:href|src)="(?!/)[^"]*', text), [])


class Forwarded(unittest.TestCase):
    def test_what_clients_say_of_themselves_changes_nothing(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            dispatch_id, _ = server.client(DISPATCH).split()
            says = {
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Host": "evil.example",
                "X-Forwarded-For": "192.0.2.1",
                "Forwarded": "for=192.0.2.1;proto=https;host=evil.example",
            }
            manifest = server.get(f"/api/v2/dispatches/{dispatch_id}", **says)
            self.assertNotIn("evil.example", manifest)
            self.assertNotIn("https://", manifest)


if __name__ == "__main__":
    unittest.main()
