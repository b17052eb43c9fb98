"""Bytes on their way between the server and a worker: neither copied nor interpreted on it."""

import mmap
import os
import pickle
from typing import Any

from distributed.protocol.serialize import register_serialization_family

PIECE = 2**25  # bytes; Dask's limit (`distributed.comm.shard`) is 2**26
MAPPED = 2**20  # bytes from which on a file is not copied into memory to be sent
FAMILY = "parcel"  # Dask's name for a way to pack results


class Parcel:
    """Some pieces of bytes."""

    def __init__(self, pieces: list[Any]) -> None:
        self.pieces = pieces

    def __reduce_ex__(self, _protocol: Any) -> Any:
        # Beside the pickle, not in it: the pieces go from the file's memory into the socket.
        return Parcel, ([pickle.PickleBuffer(piece) for piece in self.pieces],)

    def __sizeof__(self) -> int:
        """For the limits of a worker's memory."""
        return sum(map(_size, self.pieces))


def pieces(path: str) -> list[bytes]:
    """What is in a file. Dask cuts what is larger, and copies it to put it together again."""
    found = []
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            found.append(piece)
    return found


def content(path: str) -> Any:
    """What is in a file, which the kernel reads where it is sent, if it is large."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < MAPPED:
            return file.read()
        return mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)


def _size(piece: Any) -> int:
    return memoryview(piece).nbytes


def _dumps(value: Any) -> tuple[dict[str, Any], list[Any]]:
    if type(value) is not Parcel:
        raise NotImplementedError  # Dask tries the next way
    return {}, list(value.pieces)


def _loads(_header: dict[str, Any], frames: list[Any]) -> Parcel:
    return Parcel(frames)


register_serialization_family(FAMILY, _dumps, _loads)
