"""What a user of the machine tries at somebody else's server: stranger.py HOST [SECRET].

Prints, as JSON, what came of each attempt: null, or what there was to see. A user who is let in succeeds
with each of those by the port; tests/machines/stranger.rs runs it for both.
"""

import glob
import http.client
import json
import os
import socket
import subprocess
import sys

PORT = 48008
DASHBOARD = 8787
BY_PORT, ELSEWHERE = {}, {}


def by_port(function):
    BY_PORT[function.__name__] = function
    return function


def elsewhere(function):
    ELSEWHERE[function.__name__] = function
    return function


def ask(method, path, body=None, port=PORT):
    """The answer's text, unless it is a refusal."""
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    if answer.status in (401, 403):
        if SECRET in text:
            raise AssertionError("the refusal itself tells")
        raise PermissionError(text)
    return f"{answer.status} {text}"


def dispatch_id():
    return json.loads(ask("GET", "/api/v2/dispatches?count=1")[4:])["dispatches"][0]["dispatch_id"]


@by_port
def list_workflows():
    return ask("GET", "/api/v1/dispatches/list?count=10")


@by_port
def read_a_result():
    return ask("GET", f"/api/v0/files/{SECRET}")


@by_port
def write_a_file():
    return ask("PUT", "/api/v0/files/of-a-stranger", {})


@by_port
def start_a_workflow():
    return ask("PUT", "/api/v2/dispatches/none/status", {"status": "RUNNING"})


@by_port
def register_a_workflow():
    return ask("POST", "/api/v2/dispatches", {})


@by_port
def cancel_a_workflow():
    return ask("PUT", "/api/v2/dispatches/none/status", {"status": "CANCELLED"})


@by_port
def delete_workflows():
    return ask("POST", "/api/v1/dispatches/delete", {"dispatches": []})


@by_port
def read_the_settings():
    return ask("GET", "/api/v1/settings")


@by_port
def change_the_settings():
    return ask("POST", "/api/v1/settings", {"client": {}})


@by_port
def read_the_log():
    return ask("GET", "/api/v1/logs/?count=10")


@by_port
def register_a_trigger():
    return ask("POST", "/api/triggers/register", {"name": "none"})


@by_port
def send_an_event():
    return ask("POST", "/api/webhook", {"result": 1})


@by_port
def see_the_page():
    return ask("GET", "/")


@by_port
def learn_the_version():
    return ask("GET", "/openapi.json")


@by_port
def ask_for_what_is_not_there():
    return ask("OPTIONS", "//%2e%2e/none")


@by_port
def poll_for_events():
    return ask("GET", "/socket.io/?EIO=4&transport=polling")


@by_port
def open_a_websocket():
    with socket.create_connection((HOST, PORT), 20) as connection:
        connection.sendall(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost:48008\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        first = connection.recv(4096).split(b"\r\n")[0].decode()
    if " 101 " not in first:
        raise PermissionError(first)
    return first


@by_port
def send_a_second_request_behind_the_first():
    """One that is refused on a connection is not the last."""
    with socket.create_connection((HOST, PORT), 20) as connection:
        connection.sendall(2 * b"GET /api/v1/settings HTTP/1.1\r\nHost: localhost:48008\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        text = b"".join(iter(lambda: connection.recv(65536), b""))
    if b" 200 OK" not in text:
        raise PermissionError(text.split(b"\r\n")[0])
    return "200"


@by_port
def pretend():
    """To be another, as proxies say it."""
    connection = http.client.HTTPConnection(HOST, PORT, timeout=20)
    names = ("X-Forwarded-User", "X-Forwarded-For", "Forwarded", "Remote-User", "X_Forwarded_User")
    connection.request("GET", "/api/v1/settings", headers=dict.fromkeys(names, "root"))
    answer = connection.getresponse()
    if answer.status != 200:
        raise PermissionError(answer.status)
    return "200"


@by_port
def dispatch():
    import covalent as ct

    task = ct.electron(lambda: __import__("os").getuid())
    workflow = ct.lattice(lambda: task())
    address = f"[{HOST}]" if ":" in HOST else HOST
    os.environ["COVALENT_DISPATCHER_ADDR"] = address
    try:
        done = ct.dispatch(workflow, dispatcher_addr=f"http://{address}:{PORT}")()
    except Exception as error:
        raise PermissionError(str(error)) from None
    return done


@by_port
def see_dasks_dashboard():
    return ask("GET", "/json/identity.json", port=DASHBOARD)


@by_port
def see_another_page_of_it():
    return ask("GET", "/info/main/workers.html", port=DASHBOARD)


@elsewhere
def read_the_servers_files():
    for folder in ("/var/lib/covalent", "/run/covalent", "/var/lib/covalent/.local"):
        if found := glob.glob(f"{folder}/*") + glob.glob(f"{folder}/.*"):
            return found
    return None


@elsewhere
def read_its_environment_file():
    return open("/etc/covalent/covalent.env").read()


@elsewhere
def connect_to_dasks_sockets():
    for port in range(1, 65536):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"/run/covalent/dask/{port}")
            return port


@elsewhere
def connect_to_the_proxys_socket():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("/run/covalent-https/socket")
        return "connected"


@elsewhere
def read_the_journal():
    done = subprocess.run(
        ["journalctl", "--no-pager", "--quiet", "--unit", "covalent"],
        capture_output=True,
        text=True,
    )
    return done.stdout or None


@elsewhere
def find_the_secret_in_processes():
    found = []
    for file in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
        try:
            text = open(file, "rb").read()
        except OSError:
            continue
        if (
            SECRET.encode() in text and b"stranger.py" not in text
        ):  # this one's own, and what started it
            found.append(file)
    return found or None


@elsewhere
def be_told_by_covalentctl():
    text = ""
    for verb in ("status", "status --json", "doctor", "list", "history"):
        done = subprocess.run(["covalentctl", *verb.split()], capture_output=True, text=True)
        text += done.stdout + done.stderr
    return text if SECRET in text else None


@elsewhere
def drain_it():
    done = subprocess.run(
        ["covalentctl", "drain", "--timeout", "1"], capture_output=True, text=True
    )
    return done.stdout if os.path.exists("/run/covalent/draining") else None


@elsewhere
def add_oneself_to_the_group():
    done = subprocess.run(
        ["/usr/sbin/usermod", "-aG", "covalent-users", str(os.getuid())], capture_output=True
    )
    return "done" if done.returncode == 0 else None


def outcome(attempt):
    try:
        found = attempt()
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, TimeoutError):
            raise
        return None
    return None if found is None else str(found)[:200]


if __name__ == "__main__":
    HOST, SECRET = sys.argv[1], sys.argv[2]
    print(
        json.dumps(
            {
                "by the port": {name: outcome(attempt) for name, attempt in BY_PORT.items()},
                "elsewhere": {name: outcome(attempt) for name, attempt in ELSEWHERE.items()},
            }
        )
    )
