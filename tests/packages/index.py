"""A package index of wheels: index.py DIRECTORY ADDRESS PORT [OPTION]...

Serves PEP 503 and PEP 658 for the wheels of DIRECTORY and prints a line for each request. With --password,
a file that holds NAME:PASSWORD, it answers 401 to everybody else. That of --tls holds a
certificate and its key (PEM). With --latency it waits that many seconds before each answer and
before a new connection's first, with --rate it sends that many bytes a second in all.
"""

import argparse
import base64
import re
import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from zipfile import ZipFile

CHUNK = 65536


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--password", type=Path)
    parser.add_argument("--tls")
    parser.add_argument("--latency", type=float, default=0)
    parser.add_argument("--rate", type=float)
    options = parser.parse_args()
    Handler.latency, Handler.rate = options.latency, options.rate
    Handler.directory = options.directory
    if options.password:
        secret = base64.b64encode(options.password.read_bytes()).decode()
        Handler.authorization = f"Basic {secret}"
    server = ThreadingHTTPServer((options.address, options.port), Handler)
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    directory: Path
    authorization: str | None = None
    latency: float
    rate: float | None
    line = Lock()

    def setup(self) -> None:
        super().setup()
        time.sleep(self.latency)

    def do_GET(self) -> None:
        if self.authorization and self.headers.get("Authorization") != self.authorization:
            self.answer(401, b"", {"WWW-Authenticate": "Basic realm=packages"})
        elif project := re.fullmatch(r"/simple/([a-z0-9-]+)/", self.path):
            self.list(project[1])
        elif file := re.fullmatch(r"/files/([A-Za-z0-9_.+-]+\.whl)", self.path):
            self.answer(200, (self.directory / file[1]).read_bytes())
        elif file := re.fullmatch(r"/files/([A-Za-z0-9_.+-]+\.whl)\.metadata", self.path):
            self.answer(200, metadata(self.directory / file[1]))
        else:
            self.answer(404, b"")

    def list(self, project: str) -> None:
        wheels = [
            wheel.name
            for wheel in sorted(self.directory.glob("*.whl"))
            if re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower() == project
        ]
        links = "".join(
            f'<a href="/files/{name}" data-core-metadata="true">{name}</a>\n' for name in wheels
        )
        kind = {"Content-Type": "text/html"}
        self.answer(200 if wheels else 404, f"<!doctype html>\n{links}".encode(), kind)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        time.sleep(self.latency)
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not self.rate:
            self.wfile.write(body)
            return
        for start in range(0, len(body), CHUNK):
            chunk = body[start : start + CHUNK]
            with self.line:  # shared by all connections
                time.sleep(len(chunk) / self.rate)
            self.wfile.write(chunk)

    def log_message(self, _form: str, *_arguments: object) -> None:
        print(self.command, self.path, flush=True)


def metadata(wheel: Path) -> bytes:
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name)


if __name__ == "__main__":
    main()
