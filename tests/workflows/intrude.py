"""Which of these ports of loopback answer Dask's greeting, and which of these sockets can be connected to.

Whoever is greeted can have code run: intrude.py [PORT]... [SOCKET]...
"""

import asyncio
import socket
import sys

from distributed.core import connect


async def greets(port):
    try:
        await asyncio.wait_for(connect(f"tcp://127.0.0.1:{port}"), 5)
    except (OSError, TimeoutError, MemoryError):  # the last: 'HTTP/1.1' taken for a length
        return False
    return True


def connects(path):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except PermissionError:
        return False
    return True


async def main():
    ports = [name for name in sys.argv[1:] if name.isdigit()]
    paths = [name for name in sys.argv[1:] if not name.isdigit()]
    answers = await asyncio.gather(*map(greets, ports))
    return [port for port, answer in zip(ports, answers) if answer] + [*filter(connects, paths)]


print(asyncio.run(main()))
