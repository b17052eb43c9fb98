"""What another machine says to the server: plain data, and no more than a worker has to say.

Dask unpickles what it is sent, which runs whatever the sender wants, and does not ask who sends a
command. A worker's machine runs users' programs, which can read its key.
"""

import pickle
from typing import Any

import msgpack
from distributed.protocol.serialize import Serialized
from distributed.protocol.utils import msgpack_opts

# How a result is packed (`parcel.py`), and what Dask says of one that it could not pack: text.
FAMILIES = ("parcel", "error")
# What a worker and the process that watches over it ask of the scheduler.
OPERATIONS = frozenset(
    {"admit", "report", "register-worker", "register_nanny", "unregister", "heartbeat_worker"}
)
# What is said of tasks, on the connection on which the worker registered.
NEWS = frozenset(
    {
        "add-keys",
        "close-stream",
        "keep-alive",
        "log-event",
        "long-running",
        "release-worker-data",
        "request-refresh-who-has",
        "reschedule",
        "steal-response",
        "task-erred",
        "task-finished",
        "worker-status-change",
    }
)


class Refused(Exception):
    """Something that no worker of ours says. The message says what."""


def loads(frames: list[Any]) -> Any:
    """The message in Dask's frames; nothing in it is unpickled, now or by whom it is passed on to."""

    def decode(value: dict[Any, Any]) -> Any:
        if "__Serialized__" in value:
            return _serialized(frames, value["__Serialized__"])
        if "__Set__" in value:
            return set(value["as-list"])
        if not value.keys().isdisjoint(("__Pickled__", "__Enum__")):
            raise Refused("pickled data")
        return value

    return msgpack.loads(frames[0], object_hook=decode, use_list=False, **msgpack_opts)


def _serialized(frames: list[Any], offset: Any) -> Serialized:
    if type(offset) is not int or not 0 < offset < len(frames):
        raise Refused("data in no form of Dask's")
    header = msgpack.loads(frames[offset], use_list=False, **msgpack_opts)
    if header.get("serializer") not in FAMILIES or "is-collection" in header:
        return failed("a worker's answer is not plain data: it was not read")
    first = offset + 1
    return Serialized(header, frames[first : first + header["num-sub-frames"]])


def failed(text: str) -> Serialized:
    """What raises an error with this text where it is unpacked."""
    return Serialized({"serializer": "error"}, [text.encode()])


class Conversation:
    """What one worker's machine says on one connection to the scheduler, in Dask's order."""

    def __init__(self, name: str, owners: dict[str, str]) -> None:
        """`name` is the one in its certificate; `owners` has the names by the addresses."""
        self._name = name
        self._owners = owners
        self._check: Any = self._greeting

    def check(self, message: Any) -> Any:
        """The message as Dask may have it, or `Refused`."""
        return self._check(message)

    def _greeting(self, message: Any) -> Any:
        """Which versions the other side has, before anything else."""
        self._check = self._operation
        return message

    def _operation(self, message: Any) -> Any:
        if not isinstance(message, dict):
            raise Refused("no message of Dask's")
        operation = message.get("op")
        if operation == "close":
            return message
        if operation not in OPERATIONS:
            raise Refused(f"the command {operation!r}, which is not a worker's to give")
        for address in (message.get("address"), message.get("nanny")):
            self._require_own(address)
        if operation == "register-worker":
            self._check = self._news
        elif operation == "register_nanny":
            self._check = self._outcome
        return message

    def _require_own(self, address: Any) -> None:
        """A worker speaks for itself alone."""
        if address is None:
            return
        own = isinstance(address, str) and address.startswith("tls://")
        if not own or self._owners.get(address, self._name) != self._name:
            raise Refused(f"a message for {address!r}, which is another's")

    def _outcome(self, message: Any) -> Any:
        """Whether the process that a nanny watches over has started."""
        self._check = self._operation
        return message

    def _news(self, messages: Any) -> Any:
        several = messages if isinstance(messages, (tuple, list)) else (messages,)
        for message in several:
            if message == "OK":
                continue
            if not isinstance(message, dict) or message.get("op") not in NEWS:
                raise Refused("news that are not a worker's to give")
            if "worker" in message:  # Dask would take it for the sender
                raise Refused("news in another's name")
            # Dask's clients unpickle these.
            if message["op"] == "task-finished":
                message["type"] = None
            elif message["op"] == "task-erred":
                message["exception"] = pickle.dumps(RuntimeError(str(message["exception_text"])))
                message["traceback"] = None
        return messages
