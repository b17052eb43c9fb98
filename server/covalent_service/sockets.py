"""Dask's traffic by files: Unix sockets in a folder that no other account can enter.

Dask takes code from whoever reaches its scheduler, a worker, or the process that watches over
one, and on loopback every user of the machine does.
"""

import errno
import os
import random
import shutil
import socket
from pathlib import Path
from typing import Any

import dask.config
from distributed.comm import registry, tcp
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer

SCHEME = "unix"
# Dask's addresses are a host and a port; the port is the name of the file.
HOST = "127.0.0.1"
PORTS = range(1, 65536)
# Where Dask's configuration, which its workers are handed, has the folder.
FOLDER = "covalent-service.sockets"


def prepare(parent: Path) -> None:
    """Make the folder, empty, and let Dask in this process know of it."""
    folder = parent / "dask"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    dask.config.set({FOLDER: str(folder)})
    register()


def register() -> None:
    """Let Dask know this kind of address, in each process that uses one."""
    registry.backends[SCHEME] = _Backend()


def path(port: int) -> str:
    """The file of a socket."""
    return os.path.join(dask.config.get(FOLDER), str(port))


class _Socket(socket.socket):
    """A Unix socket that looks to Dask as one of TCP."""

    def accept(self) -> Any:
        connection, _ = super().accept()
        return _Socket(fileno=connection.detach()), (HOST, 0)

    def getsockname(self) -> Any:
        """A client's socket has no file, and so no port."""
        return HOST, int(os.path.basename(super().getsockname()) or 0)

    def setsockopt(self, level: int, *arguments: Any) -> None:
        """Dask's time limits of TCP mean nothing here: a process that is gone is seen at once."""
        if level != socket.SOL_TCP:
            super().setsockopt(level, *arguments)


def _new() -> _Socket:
    return _Socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


class _Client:
    """What Dask asks for a connection, in place of Tornado's client for TCP."""

    async def connect(self, _host: str, port: int, max_buffer_size: int) -> IOStream:
        connection = _new()
        try:
            connection.connect(path(port))  # at once, or not at all
        except OSError as error:
            connection.close()
            raise StreamClosedError(error) from error
        return IOStream(connection, max_buffer_size=max_buffer_size)


class _Connector(tcp.TCPConnector):
    prefix = f"{SCHEME}://"
    client: Any = _Client()


class _Listener(tcp.TCPListener):
    prefix = f"{SCHEME}://"

    async def start(self) -> None:
        listening = _new()
        _bind(listening, self.port)
        listening.listen(int(dask.config.get("distributed.comm.socket-backlog")))
        self.tcp_server = TCPServer(max_buffer_size=tcp.MAX_BUFFER_SIZE)
        self.tcp_server.handle_stream = self._handle_stream
        self.tcp_server.add_sockets([listening])
        self.bound_address = listening.getsockname()

    def stop(self) -> None:
        if self.tcp_server is not None:
            Path(path(self.get_host_port()[1])).unlink(missing_ok=True)
        super().stop()


def _bind(listening: socket.socket, port: int) -> None:
    """Bind to that port, or to any that is free if it is 0."""
    for _ in PORTS:
        try:
            return listening.bind(path(port or random.choice(PORTS)))
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, "no name is free", dask.config.get(FOLDER))


class _Backend(tcp.TCPBackend):
    _connector_class = _Connector
    _listener_class = _Listener
