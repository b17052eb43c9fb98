"""What nobody without a login can do by HTTPS, and what nobody can do at all, tried from another machine.

    python3 https.py refusals|limit|steady SECONDS --host NAME --port N --ca FILE --netrc FILE

`refusals` prints `PASS name` or `FAIL name reason` for each kind of attempt, and `limit` for the wrong
passwords, after which the address has to wait. `steady` asks as a program would, ten times a second on a
connection each, and prints how often each answer came. Needs nothing but Python.
"""

import argparse
import base64
import collections
import json
import netrc
import os
import socket
import ssl
import sys
import time
import traceback

LIMIT = 10  # wrong passwords a minute that one address may send
PATIENCE = 60  # seconds for an answer, on a machine that has much else to do

# Pages, files, each version of the API, triggers, what Covalent calls itself by, and ways of writing them.
PATHS = [
    ("GET", "/"),
    ("GET", "/settings"),
    ("GET", "/logs"),
    ("GET", "/preview"),
    ("HEAD", "/"),
    ("GET", "/static/js/main.js"),
    ("GET", "/favicon.ico"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/api/v1/dispatches/list?count=1"),
    ("GET", "/api/v1/settings"),
    ("PUT", "/api/v1/settings"),
    ("GET", "/api/v0/files/etc/passwd"),
    ("PUT", "/api/v0/files/tmp/x"),
    ("POST", "/api/v2/dispatches"),
    ("GET", "/api/v2/dispatches"),
    ("DELETE", "/api/v2/dispatches/x"),
    ("POST", "/api/triggers/register"),
    ("POST", "/api/webhook"),
    ("POST", "/api/resultv2"),
    ("OPTIONS", "/api/v2/dispatches"),
    ("PATCH", "//api/v2/dispatches"),
    ("GET", "/%61pi/v2/dispatches"),
    ("GET", "/static/../api/v2/dispatches"),
]

KINDS = {}


def kind(function):
    KINDS[function.__name__] = function
    return function


def check(condition, reason):
    if not condition:
        raise AssertionError(reason)


class Server:
    """The server as a client elsewhere reaches it."""

    def __init__(self, host, port, ca, login):
        self.host, self.port, self.ca = host, port, ca
        self.login = login  # name and password
        self.place = f"{host}:{port}"

    def connect(self, context=None):
        plain = socket.create_connection((self.host, self.port), timeout=PATIENCE)
        context = context or ssl.create_default_context(cafile=self.ca)
        return context.wrap_socket(plain, server_hostname=self.host)

    def talk(self, data, context=None):
        """Everything that comes back for these bytes, until the other end closes or says no more."""
        with self.connect(context) as connection:
            connection.sendall(data)
            answer = b""
            try:
                while part := connection.recv(65536):
                    answer += part
            except (TimeoutError, ConnectionResetError, ssl.SSLError):
                pass
        return answer

    def ask(self, method, path, *headers, login=None, host=None, body=b""):
        """Status, header lines and body of an answer; `login` is a name and a password."""
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"Host: {self.place if host is None else host}", "Connection: close"]
        if login:
            lines.append(authorization(*login))
        lines += headers
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        answer = self.talk("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head, _, rest = answer.partition(b"\r\n\r\n")
        return status(answer), head.decode("latin-1").lower().split("\r\n")[1:], rest

    def upgrade(self, *headers, login=None):
        """The status that a request for the page's websocket gets."""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
            f"Host: {self.place}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            *headers,
        ]
        if login:
            lines.append(authorization(*login))
        with self.connect() as connection:
            connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
            return status(connection.recv(4096))


def authorization(name, password):
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def status(answer):
    """The first one in it; 0 where the other end has closed without one."""
    words = answer.split(b" ", 2)
    return int(words[1]) if answer.startswith(b"HTTP/1.") and len(words) > 1 else 0


def answers(answer):
    return answer.count(b"HTTP/1.1 ") + answer.count(b"HTTP/1.0 ")


@kind
def no_password(server):
    """24 paths and methods."""
    check(len(PATHS) >= 24, "too few paths")
    for method, path in PATHS:
        found, headers, body = server.ask(method, path)
        check(found == 401, f"{method} {path}: {found}")
        check(any(line.startswith("www-authenticate: basic") for line in headers), headers)
        check(b"covalent_" not in body, body)
    found, _, _ = server.ask("GET", "/api/v2/dispatches", login=server.login)
    check(found == 200, f"with a password: {found}")


@kind
def wrong_password(server):
    """And logins in other forms; these few count as wrong ones."""
    name, password = server.login
    for login in [(name, password + "x"), ("mallory", password), (name, "")]:
        found, _, _ = server.ask("GET", "/api/v2/dispatches", login=login)
        check(found == 401, f"{login[0]}: {found}")
    found, _, _ = server.ask("GET", "/", f"Authorization: Bearer {password}")
    check(found == 401, f"Bearer: {found}")
    # The name of one, the password of another.
    right, wrong = authorization(*server.login), authorization("root", "x")
    for lines in [(right, wrong), (wrong, right)]:
        found, _, _ = server.ask("GET", "/api/v2/dispatches", *lines)
        check(found == 400, f"two logins: {found}")
    other = right.replace("Authorization", "Proxy-Authorization")
    found, _, _ = server.ask("GET", "/api/v2/dispatches", other)
    check(found == 401, f"Proxy-Authorization: {found}")


@kind
def websocket_without_login(server):
    """The page's websocket, its long polling, and events of the terminal."""
    found = server.upgrade()
    check(found == 403, f"websocket: {found}")
    for method in ("GET", "POST"):
        found, _, _ = server.ask(
            method, "/socket.io/?EIO=4&transport=polling", body=b'42["start_terminal"]'
        )
        check(found == 401, f"polling by {method}: {found}")
    found = server.upgrade(f"Origin: https://{server.place}", login=server.login)
    check(found == 101, f"with a password: {found}")


@kind
def cookie(server):
    """What a page sets for its websocket opens that and nothing else, and only as it was set."""
    _, headers, _ = server.ask("GET", "/", login=server.login)
    lines = [line for line in headers if line.startswith("set-cookie: __host-covalent=")]
    check(len(lines) == 1, headers)
    for attribute in ("secure", "httponly", "samesite=strict", "path=/"):
        check(attribute in lines[0], lines[0])
    found, headers, _ = server.ask("GET", "/api/v2/dispatches", login=server.login)
    check(not any(line.startswith("set-cookie") for line in headers), headers)

    def given(server):
        answer = server.talk(
            f"GET / HTTP/1.1\r\nHost: {server.place}\r\nConnection: close\r\n"
            f"{authorization(*server.login)}\r\n\r\n".encode()
        )
        return answer.partition(b"__Host-covalent=")[2].partition(b";")[0].decode()

    good = given(server)
    end, name, signature = good.split(":")
    check(name == server.login[0], good)
    own = f"Origin: https://{server.place}"

    def opened(value, *headers):
        return server.upgrade(f"Cookie: __Host-covalent={value}", *headers)

    check(opened(good, own) == 101, "the page's own is refused")
    for what, value in {
        "forged": f"{end}:{name}:{signature[::-1]}",
        "of another end": f"{int(end) + 1}:{name}:{signature}",
        "of another user": f"{end}:root:{signature}",
        "without a user": f"{end}::{signature}",
        "without a signature": f"{end}:{name}:",
        "of nothing": "::",
        "empty": "",
        "zero": "0:0:0",
    }.items():
        check(opened(value, own) == 403, what)
    check(opened(good, "Origin: https://evil.example.net") == 403, "from a page of another site")
    for method, path in PATHS[:12]:
        found, _, _ = server.ask(method, path, f"Cookie: __Host-covalent={good}")
        check(found == 401, f"{method} {path} with the cookie alone: {found}")
    polling = "/socket.io/?EIO=4&transport=polling"
    found, _, _ = server.ask("GET", polling, f"Cookie: __Host-covalent={good}")
    check(found == 401, f"polling with the cookie alone: {found}")


@kind
def origins(server):
    """A page of another site, in a browser that has the password."""
    host, port = server.host, server.port
    for origin in [
        "https://evil.example.net",
        "null",
        f"http://{host}",
        f"http://{server.place}",
        f"https://{host}:{port + 1}",
        f"https://{host}",
        f"https://sub.{server.place}",
        f"https://{server.place}.evil.example.net",
        "",
    ]:
        for method, path in [("POST", "/api/v2/dispatches"), ("GET", "/api/v2/dispatches")]:
            found, headers, _ = server.ask(
                method, path, f"Origin: {origin}", login=server.login, body=b"{}"
            )
            check(found == 403, f"{method} from {origin!r}: {found}")
            foreign = [line for line in headers if line.startswith("access-control-")]
            check(not foreign, f"{origin!r}: {foreign}")
        found = server.upgrade(f"Origin: {origin}", login=server.login)
        check(found == 403, f"websocket from {origin!r}: {found}")
    own = f"Origin: https://{server.place}"
    found, _, _ = server.ask("POST", "/api/v2/dispatches", own, login=server.login, body=b"{}")
    check(found not in (401, 403), f"its own page: {found}")


@kind
def hosts(server):
    """Names that are not this server's, and requests for whole URLs."""
    place = server.place
    for host in [
        "evil.example.net",
        "localhost",
        "localhost:48008",
        "127.0.0.1",
        "[::1]",
        f"{place}@evil.example.net",
        f"evil.example.net@{place}",
        f"{place}/x",
        f"{place},evil.example.net",
        "",
    ]:
        found, _, _ = server.ask("GET", "/api/v2/dispatches", login=server.login, host=host)
        check(400 <= found < 500, f"{host!r}: {found}")
    login = authorization(*server.login)
    for name, lines in {
        "none": ["GET /api/v2/dispatches HTTP/1.1"],
        "two": ["GET /api/v2/dispatches HTTP/1.1", f"Host: {place}", "Host: evil.example.net"],
        "another in the URL": ["GET https://evil.example.net/ HTTP/1.1", f"Host: {place}"],
        "its own in the URL": [f"GET https://{place}/api/v2/dispatches HTTP/1.1", f"Host: {place}"],
        "none and 1.0": ["GET /api/v2/dispatches HTTP/1.0"],
        "a tunnel": [f"CONNECT {place} HTTP/1.1", f"Host: {place}"],
    }.items():
        for header in (login, login.replace("Authorization", "Proxy-Authorization")):
            text = "\r\n".join([*lines, header, "Connection: close"]) + "\r\n\r\n"
            found = status(server.talk(text.encode()))
            check(400 <= found < 500, f"{name}: {found}")


@kind
def smuggling(server):
    """A second request inside of the first one."""
    inner = f"GET /api/v2/dispatches HTTP/1.1\r\nHost: {server.place}\r\n\r\n"
    # Of the two, only the inner one could get a 200.
    head = f"POST /api/v2/dispatches HTTP/1.1\r\nHost: {server.place}\r\n"
    chunk = f"{len(inner):x}\r\n{inner}\r\n0\r\n\r\n"
    for what, text in {
        "length, then chunks": head
        + f"Content-Length: {len(inner) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        "chunks, then length": head
        + f"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}",
        "a blank before the colon": head
        + f"Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n{chunk}",
        "a tab before the value": head
        + f"Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n\r\n{chunk}",
        "another coding": head
        + f"Transfer-Encoding: x, chunked\r\nContent-Length: 4\r\n\r\n{chunk}",
        "two lengths": head + f"Content-Length: 0\r\nContent-Length: {len(inner)}\r\n\r\n{inner}",
    }.items():
        for login in ("", authorization(*server.login) + "\r\n"):
            # The login stands in the outer request alone: an answer to the inner one would be a leak.
            first, _, rest = text.partition("\r\n")
            answer = server.talk(f"{first}\r\n{login}{rest}".encode())
            check(answers(answer) <= 1, f"{what}: {answer!r}")
            check(b"HTTP/1.1 200" not in answer, f"{what}: {answer!r}")


@kind
def plain_and_old(server):
    """Without TLS, or with one of the last century."""
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nHost: {server.place}\r\n\r\n".encode())
        try:
            answer = plain.recv(4096)
        except ConnectionResetError:
            answer = b""
    check(b"HTTP" not in answer, answer)

    def version(number):
        context = ssl.create_default_context(cafile=server.ca)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = number
        with server.connect(context) as connection:
            return connection.version()

    for number in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        check(version(number) == number.name.replace("_", "."), number)
    for number in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        try:
            version(number)
        except (ssl.SSLError, ConnectionResetError):
            continue
        raise AssertionError(f"{number.name} is taken")
    _, headers, _ = server.ask("GET", "/", login=server.login)
    named = [line for line in headers if line.startswith(("server:", "via:"))]
    check(not any(letter.isdigit() for line in named for letter in line), named)


@kind
def unknown_authority(server):
    """A client that has not imported the authority is told; so is one that calls another name."""
    for context, name in [
        (ssl.create_default_context(), server.host),
        (ssl.create_default_context(cafile=server.ca), "evil.example.net"),
    ]:
        plain = socket.create_connection((server.host, server.port), timeout=PATIENCE)
        try:
            context.wrap_socket(plain, server_hostname=name).close()
        except ssl.SSLCertVerificationError:
            continue
        raise AssertionError(f"{name} is believed")


def refusals(server):
    passed = True
    for name, function in KINDS.items():
        passed &= run(name, lambda function=function: function(server))
    return passed


def run(name, function):
    try:
        function()
    except Exception as error:
        if not isinstance(error, AssertionError):
            traceback.print_exc()
        print(f"FAIL {name} {error}", flush=True)
        return False
    print(f"PASS {name}", flush=True)
    return True


def limit(server):
    """The eleventh wrong password within a minute."""

    def eleventh():
        wrong = (server.login[0], "wrong")
        found = [server.ask("GET", "/", login=wrong)[0] for _ in range(LIMIT + 1)]
        check(found == [401] * LIMIT + [429], found)
        found, _, _ = server.ask("GET", "/", login=server.login)
        check(found == 429, f"with the right one: {found}")
        check(server.upgrade(login=server.login) == 429, "the websocket")

    return run("eleventh", eleventh)


def steady(server, seconds):
    """How often each answer came."""
    seen = collections.Counter()
    longest = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        try:
            found = str(server.ask("GET", "/api/v2/dispatches", login=server.login)[0])
        except OSError as error:
            found = type(error).__name__
        seen[found] += 1
        longest = max(longest, time.monotonic() - begun)
        time.sleep(0.1)
    print(json.dumps({"answers": seen, "longest": round(longest, 1)}), flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["refusals", "limit", "steady"])
    parser.add_argument("seconds", nargs="?", type=float, default=10)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=48443)
    parser.add_argument("--ca", required=True, help="the authority's certificate")
    parser.add_argument("--netrc", required=True, help="where the login is, as clients have it")
    options = parser.parse_args()
    name, _, password = netrc.netrc(options.netrc).authenticators(options.host)
    server = Server(options.host, options.port, options.ca, (name, password))
    if options.what == "steady":
        return 0 if steady(server, options.seconds) else 1
    return 0 if {"refusals": refusals, "limit": limit}[options.what](server) else 1


if __name__ == "__main__":
    sys.exit(main())
