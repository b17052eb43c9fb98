"""A task's values, from Covalent's form for files and into it, each in one pass.

Covalent pickles what a function returns, writes that in base 64, decodes this, encodes it again and
puts it behind a header: each time, all of it is copied. It reads a value in as many steps.
"""

import io
import json
import os
import pickle
import platform
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import cloudpickle
import pybase64
from covalent._serialize.common import AssetType
from covalent._serialize.electron import ASSET_TYPES
from covalent._workflow.transportable_object import (
    BYTE_ORDER,
    DATA_OFFSET_BYTES,
    HEADER_OFFSET,
    STRING_OFFSET_BYTES,
    TOArchiveUtils,
)
from covalent.executor.utils import wrappers

# Bytes of a pickle that are written in base 64 at once: a multiple of 3, of which it makes 4.
STEP = 3 * 2**20
# Those that are read at once: as they are copied then, they are few enough for the processor's cache.
READ_STEP = 3 * 2**15
# Bytes that pickle reads at once, unless it needs more.
BUFFER = 2**16
# Bytes that are written to a file at once.
PIECE = 2**14
deserialize = wrappers.deserialize_node_asset


class Packed:
    """What a function returned, in the pieces of its file. In the place of `TransportableObject`."""

    def __init__(self, value: Any) -> None:
        data = _InBase64()
        cloudpickle.Pickler(data).dump(value)
        string = str(value).encode()
        attributes = {
            "doc": getattr(value, "__doc__", ""),
            "name": getattr(value, "__name__", ""),
        }
        header = json.dumps(
            {
                "py_version": platform.python_version(),
                "cloudpickle_version": cloudpickle.__version__,
                "attrs": attributes,
            }
        ).encode()
        at_string = HEADER_OFFSET + len(header)
        beginning = (
            at_string.to_bytes(STRING_OFFSET_BYTES, BYTE_ORDER),
            (at_string + len(string)).to_bytes(DATA_OFFSET_BYTES, BYTE_ORDER),
            header,
            string,
        )
        self.pieces = [b"".join(beginning), *data.finish()]

    def __len__(self) -> int:
        return sum(map(len, self.pieces))


class _InBase64:
    """Where pickle writes to: what it writes, in base 64."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._rest = bytearray()  # less than a step

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size, at = len(view), 0
        while size - at + len(self._rest) >= STEP:
            end = at + STEP - len(self._rest)
            if self._rest:
                self._rest += view[at:end]
                self._add(self._rest)
                self._rest = bytearray()
            else:
                self._add(view[at:end])
            at = end
        self._rest += view[at:]
        return size

    def finish(self) -> list[bytes]:
        if self._rest:
            self._add(self._rest)
        return self._pieces

    def _add(self, data: Any) -> None:
        self._pieces.append(pybase64.b64encode(data))


class Unpacked:
    """A value that a function is given, or the function. In the place of `TransportableObject`."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def get_deserialized(self) -> Any:
        """The value."""
        start = TOArchiveUtils.data_offset(self._content)
        data = _FromBase64(memoryview(self._content)[start:])
        return pickle.Unpickler(io.BufferedReader(data, BUFFER)).load()


class _FromBase64(io.RawIOBase):
    """Where pickle reads from; it reads large parts to where they stay."""

    def __init__(self, text: memoryview) -> None:
        self._text = text
        self._rest = memoryview(b"")  # decoded, and not read yet

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size, at = len(buffer), 0
        while at < size:
            if not self._rest:
                if not self._text:
                    break
                step = min(READ_STEP, -(-(size - at) // 3) * 3) // 3 * 4
                self._rest = memoryview(pybase64.b64decode(self._text[:step], validate=True))
                self._text = self._text[step:]
            count = min(size - at, len(self._rest))
            buffer[at : at + count] = self._rest[:count]
            self._rest = self._rest[count:]
            at += count
        return at


def _read(content: Any, kind: str) -> Any:
    if ASSET_TYPES[kind] == AssetType.TRANSPORTABLE:
        return Unpacked(content)
    return deserialize(bytes(content), kind)


def _written(value: Packed, _kind: str) -> bytes:
    return b"".join(value.pieces)


def _as_it_is(value: Packed, _kind: str) -> Packed:
    return value


def _with(function: Any, names: Mapping[str, Any]) -> Any:
    """The same function, for which these names mean something else."""
    return types.FunctionType(
        function.__code__, {**function.__globals__, **names}, function.__name__
    )


def _runner(write: Any, **names: Any) -> Any:
    return _with(
        wrappers.run_task_group_alt,
        {
            "wrapper_fn": _with(wrappers.wrapper_fn, {"TransportableObject": Packed}),
            "deserialize_node_asset": _read,
            "serialize_node_asset": write,
            **names,
        },
    )


class _InPieces(io.FileIO):
    """A file that the kernel is given little of at a time.

    For more at once it looks for memory in one piece: in a virtual machine, for some that its host has
    not given it yet, which takes several times as long as the copy.
    """

    def write(self, data: Any) -> int:
        return super().write(memoryview(data)[:PIECE])


def open_anew(path: str, mode: str = "r") -> Any:
    """A file that was there may have another name (`copies.files_have_two_names`)."""
    if not mode.startswith("w"):
        return open(path, mode)
    with suppress(FileNotFoundError):
        os.remove(path)
    return io.BufferedWriter(_InPieces(path, mode)) if mode == "wb" else open(path, mode)


# Covalent's own, from files into files.
run_task_group: Callable[..., None] = _runner(_written, open=open_anew)


class Memory(dict[str, Any]):
    """What is in the files that would only be written to be read again, by their paths."""

    def run_task_group(self, *arguments: Any) -> None:
        """Covalent's own; what it does not find here it reads and writes as files."""
        _runner(_as_it_is, open=self._open)(*arguments)

    def _open(self, path: str, mode: str = "r") -> Any:
        if mode == "wb" or path in self:
            return _File(self, path)
        return open(path, mode)


class _File:
    def __init__(self, memory: Memory, path: str) -> None:
        self._memory = memory
        self._path = path

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_exception: Any) -> None:
        pass

    def read(self) -> Any:
        content = self._memory[self._path]
        return b"".join(content.pieces) if isinstance(content, Packed) else content

    def write(self, content: Packed) -> None:
        self._memory[self._path] = content
