"""Requests whose sender is gone when they are read.

    abandoned.py send HOST NAME COUNT KIND...   each writes a file of the server's, NAME-KIND-NUMBER
    abandoned.py judge USER COUNT               as root: whose are those of USER taken to be?

A sender closes its socket, resets the connection, or ends what it sends and waits for the answer (half).
"""

import errno
import json
import os
import pwd
import socket
import struct
import sys

PORT = 48008
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


def connected(place, port=0):
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    connection = socket.socket(family)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port:
        connection.bind((place[0], port))
    connection.connect(place)
    return connection


def leave(connection, kind):
    """What came of it, where the sender waits for that."""
    if kind == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    if kind == "half":
        connection.shutdown(socket.SHUT_WR)
        status = connection.recv(12).decode()
        connection.close()
        return status
    connection.close()
    return "gone"


def send(host, name, count, kinds):
    statuses = []
    for kind in kinds:
        for number in range(count):
            connection = connected((host, PORT))
            connection.sendall(
                f"PUT /api/v0/files/{name}-{kind}-{number} HTTP/1.1\r\nHost: localhost:{PORT}\r\n"
                "Content-Length: 1\r\n\r\nx".encode()
            )
            statuses.append(leave(connection, kind))
    print(json.dumps({status: statuses.count(status) for status in set(statuses)}))


def judge(user, count):
    """Each time the port goes on to root, by a connection or by a listener, or to nobody."""
    sys.path.insert(0, "/usr/libexec/covalent/server")
    from covalent_service import peers

    uid = pwd.getpwnam(user).pw_uid
    names = ("judged", "mistaken", "without the inode", "without the state", "without this end")
    found = dict.fromkeys(names, 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for number in range(count):
            kind = ("close", "reset")[number % 2]
            near, connection = abandoned(listener, uid, kind, peers)
            mine = []
            if kind == "close":
                control = "without the inode"
            elif taken := take(listener, connection.client.port, number % 4 == 1):
                mine, control = taken
            else:
                near.close()
                continue
            seen = peers._socket(connection.client, connection._server)
            # Of a socket that nobody has open the kernel says whose it was, or in earlier versions root's.
            found[control] += seen is not None and (seen.uid == 0 or kind == "close")
            found["judged"] += 1
            found["mistaken"] += connection.account() is not None
            for one in (*mine, near):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                one.close()
    print(json.dumps(found))


def take(listener, port, connects):
    """What root has at that port now, and what alone tells it from the user; nothing if others were first."""
    try:
        if connects:
            return [
                connected(listener.getsockname(), port),
                listener.accept()[0],
            ], "without this end"
        return [socket.create_server(("127.0.0.1", port))], "without the state"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        raise


def abandoned(listener, uid, kind, peers):
    """The server's end of a request of the user's, who is gone by now."""
    go = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        connection = connected(listener.getsockname())
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        os.read(go[0], 1)
        leave(connection, kind)
        os._exit(0)
    near, _ = listener.accept()
    connection = peers.Connection(near, lambda: False)
    assert connection.account() == uid
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    for end in go:
        os.close(end)
    return near, connection


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])
    else:
        judge(sys.argv[2], int(sys.argv[3]))
