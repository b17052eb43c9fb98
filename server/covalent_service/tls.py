"""Dask's traffic between machines: TLS, and who is at its other end.

Dask asks for a certificate of the authority, and for nothing else: whoever has one could be the
server, a worker, or somebody who gives them work.
"""

import asyncio
import mmap
import ssl
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from distributed.comm import registry, tcp
from distributed.comm.core import CommClosedError, FatalCommClosedError
from tornado.iostream import StreamClosedError

from covalent_service import plain
from covalent_service.certificates import Identity, Peer
from covalent_service.logs import SERVICE

SCHEME = "tls"
HANDSHAKE_TIMEOUT = 10  # seconds; a whole one takes milliseconds
# Seconds until the same peer's refusal is worth another line: a worker tries again every few seconds.
REPEAT = 60

# Bytes from which on memory comes from the kernel, and not from Python.
LARGE = 2**20

# Whether this peer, at this address if it was connected to, may be talked to.
Allowed = Callable[[Peer, str], bool]


def fresh_memory(size: int) -> memoryview:
    """What is read goes there. Where there is no NumPy, Dask fills it with zeros first."""
    if size < LARGE:
        return memoryview(bytearray(size))
    return memoryview(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class Backend(tcp.TLSBackend):
    """Connections with certificates of one identity, and with peers that are allowed."""

    def __init__(self, identity: Identity, allowed: Allowed) -> None:
        self.allowed = allowed
        self.identity = identity
        self._refusals: dict[str, float] = {}

    def register(self) -> None:
        """Have Dask use it in this process."""
        registry.backends[SCHEME] = self
        tcp.host_array = fresh_memory

    def comm(self, stream: Any, *arguments: Any) -> Any:
        """A connection that we made."""
        return tcp.TLS(stream, *arguments)

    def accepted(self, stream: Any, *arguments: Any) -> Any:
        """A connection that somebody made to us."""
        return tcp.TLS(stream, *arguments)

    def refuse(self, who: str, why: str) -> None:
        """Say so, once a minute for each peer."""
        now = time.monotonic()
        recent = {key: at for key, at in self._refusals.items() if now - at < REPEAT}
        if who not in recent:
            recent[who] = now
            SERVICE.warning("refused: %s, %s", who, why)
        self._refusals = recent

    def get_connector(self) -> Any:
        """Called by Dask."""
        return _Connector(self)

    def get_listener(
        self, loc: Any, handle_comm: Any, deserialize: Any, **connection_args: Any
    ) -> Any:
        """Called by Dask."""
        return _Listener(self, loc, handle_comm, deserialize, **connection_args)


class _Connector(tcp.TLSConnector):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.comm_class = backend.comm

    def _get_connect_args(self, **_connection_args: Any) -> Any:
        return {"ssl_options": self._backend.identity.context(ssl.PROTOCOL_TLS_CLIENT)}

    async def connect(self, address: str, *arguments: Any, **options: Any) -> Any:
        comm = await super().connect(address, *arguments, **options)
        peer = Peer.of(comm.stream.socket)
        if not self._backend.allowed(peer, self.prefix + address):
            comm.abort()
            raise FatalCommClosedError(f"{address} has a certificate of {peer.name}: not talked to")
        return comm


class _Listener(tcp.TLSListener):
    def __init__(self, backend: Backend, *arguments: Any, **options: Any) -> None:
        self._backend = backend
        self.comm_class = backend.accepted
        super().__init__(*arguments, **options)

    def _get_server_args(self, **_connection_args: Any) -> Any:
        return {"ssl_options": self._backend.identity.context(ssl.PROTOCOL_TLS_SERVER)}

    @property
    def contact_address(self) -> str:
        """Where it listens. Dask asks the network for an address with each connection, and warns."""
        return str(self.listen_address)

    async def _prepare_stream(self, stream: Any, address: str) -> Any:
        """The stream of a peer that is allowed; nothing was read from it yet but the handshake."""
        place = address.removeprefix(self.prefix).rpartition(":")[0]
        try:
            await asyncio.wait_for(stream.wait_for_handshake(), HANDSHAKE_TIMEOUT)
            peer = Peer.of(stream.socket)
        except (OSError, AttributeError, asyncio.TimeoutError) as error:
            stream.close()
            self._backend.refuse(place, _cause(error))
            return None
        if self._backend.allowed(peer, ""):
            return stream
        stream.close()
        self._backend.refuse(place, f"its certificate, of {peer.name}, is not let in")
        return None


def _cause(error: Exception) -> str:
    error = getattr(error, "real_error", None) or error
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return getattr(error, "verify_message", "") or reason
    if isinstance(error, asyncio.TimeoutError):
        return f"no TLS handshake within {HANDSHAKE_TIMEOUT} s"
    return str(error) or "gone before the TLS handshake was done"


class Guarded(Backend):
    """The server's: peers are workers, what they say is plain data, and they give no commands."""

    def __init__(self, identity: Identity, allowed: Allowed) -> None:
        super().__init__(identity, allowed)
        self.owners: dict[str, str] = {}  # names in certificates, by the addresses of workers
        self._open: WeakSet[Any] = WeakSet()

    def comm(self, stream: Any, *arguments: Any) -> Any:
        return self._noted(_Plain(self, stream, *arguments))

    def accepted(self, stream: Any, *arguments: Any) -> Any:
        comm = self._noted(_Plain(self, stream, *arguments))
        comm.conversation = plain.Conversation(comm.peer.name, self.owners)
        return comm

    def _noted(self, comm: Any) -> Any:
        self._open.add(comm)
        return comm

    def cut_off(self, name: str) -> None:
        """End the connections that this peer has."""
        for comm in list(self._open):
            if comm.peer.name == name:
                comm.abort()


class _Plain(tcp.TLS):
    """A connection from which nothing is unpickled."""

    stream: Any
    conversation: Any = None  # for one that the peer made

    def __init__(self, backend: Guarded, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._backend = backend
        self.peer = Peer.of(self.stream.socket)

    async def read(self, deserializers: Any = None) -> Any:
        """As Dask's, up to what is in the frames."""
        if self.stream is None:
            raise CommClosedError()
        try:
            frames = await self._frames(self.stream)
        except (StreamClosedError, ssl.SSLError) as error:
            self.stream = None
            self._closed = True
            tcp.convert_stream_closed_error(self, error)
        except BaseException:
            self.abort()
            raise
        try:
            message = plain.loads(frames)
            return self.conversation.check(message) if self.conversation else message
        except Exception as error:  # whatever a peer can make of msgpack's frames
            self._backend.refuse(self.peer.name, f"it sent {error or type(error).__name__}")
            self.abort()
            raise CommClosedError(str(error)) from None

    async def _frames(self, stream: Any) -> list[Any]:
        size = int.from_bytes(await stream.read_bytes(8), "little")
        frames, sizes = tcp.unpack_frames(await tcp.read_bytes_rw(stream, size), partial=True)
        for size in sizes:
            frames.append(await tcp.read_bytes_rw(stream, size))
        return list(frames)
