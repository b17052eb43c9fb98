"""Milliseconds to find out whose a connection is and whether that account is let in: check.py USER

As root, of a connection of USER's. Prints the median and the 99th percentile.
"""

import asyncio
import os
import pwd
import socket
import sys
import time

sys.path.insert(0, "/usr/libexec/covalent/server")

from covalent_service.local_users import LocalUsers
from covalent_service.peers import Connection

ROUNDS = 20_000


def connection_of(uid, listener):
    if os.fork() == 0:
        os.setuid(uid)
        with socket.socket() as client:
            client.connect(listener.getsockname())
            client.recv(1)
        os._exit(0)
    near, _ = listener.accept()
    return near


async def main():
    uid = pwd.getpwnam(sys.argv[1]).pw_uid
    users = LocalUsers("covalent-users")
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listener, connection_of(uid, listener) as near:
        connection = Connection(near, lambda: False)
        for _ in range(ROUNDS):
            began = time.perf_counter()
            is_let_in = await users.lets_in(connection.account())
            taken.append(1000 * (time.perf_counter() - began))
            assert is_let_in
    taken.sort()
    print(taken[ROUNDS // 2], taken[ROUNDS * 99 // 100])


asyncio.run(main())
