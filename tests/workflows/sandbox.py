"""What the sandbox keeps tasks from: sandbox.py here|task|terminal.

Prints, as JSON, the name of each attempt and what came of it, null if it failed. Made in this
process, in a task, and in the UI's terminal. What it finds is laid out by
tests/machines/secrets.rs such that without a sandbox each attempt succeeds.
"""

import json
import os
import subprocess
import sys
import tempfile
import uuid

# Where the service may write: its own folders, and what is empty at each of its starts.
OWN = ("/var/lib/covalent", "/run/covalent", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")
# Not files, but the kernel's answers.
KERNEL = ("/proc", "/sys")


def read_the_settings():
    return open("/etc/covalent/covalent.env").read()


def read_a_home():
    return open("/home/alice/open").read()


def read_the_home_of_root():
    return open("/root/open").read()


def read_what_covalentctl_keeps():
    return os.listdir("/var/lib/covalentctl")


def see_processes_of_others():
    owners = {os.stat(f"/proc/{name}").st_uid for name in os.listdir("/proc") if name.isdigit()}
    return sorted(owners - {os.getuid()})


def read_temporary_files_of_others():
    return open("/tmp/open").read()


def write_elsewhere():
    taken = []
    for folder, folders, _ in os.walk("/"):
        if folder in OWN + KERNEL:
            folders.clear()
            continue
        try:
            with tempfile.TemporaryFile(dir=folder):
                taken.append(folder)
        except OSError:
            continue
    return taken


def become_root():
    shown = subprocess.run(["/usr/local/bin/root-id", "-u"], capture_output=True, text=True)
    return shown.stdout.strip() == "0"


def make_a_user_namespace():
    command = ["unshare", "--user", "--map-root-user", "id", "-u"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() == "0"


def open_a_device():
    os.close(os.open("/dev/net/tun", os.O_RDWR))
    return "open"


ATTEMPTS = (
    read_the_settings,
    read_a_home,
    read_the_home_of_root,
    read_what_covalentctl_keeps,
    see_processes_of_others,
    read_temporary_files_of_others,
    write_elsewhere,
    become_root,
    make_a_user_namespace,
    open_a_device,
)


def attempts():
    return {attempt.__name__: outcome(attempt) for attempt in ATTEMPTS}


def outcome(attempt):
    try:
        return attempt() or None
    except OSError:
        return None


def in_a_task():
    import covalent as ct

    @ct.electron
    def task(file):
        import runpy

        return runpy.run_path(file)["attempts"]()

    @ct.lattice
    def workflow(file):
        return task(file)

    return ct.get_result(ct.dispatch(workflow)(__file__), wait=True).result


def in_the_terminal():
    import socketio

    client = socketio.SimpleClient()
    client.connect("http://localhost:48008")
    client.emit("start_terminal")
    mark = uuid.uuid4().hex
    # Split here, the mark is whole only in what the shell makes of it.
    command = f"{sys.executable} {__file__} here; echo {mark[:9]}''{mark[9:]}\n"
    client.emit("pty-input", {"input": command})
    shown = ""
    while mark not in shown:
        shown += client.receive(timeout=60)[1]["output"]
    return next(json.loads(line) for line in shown.splitlines() if line.startswith("{"))


WHERE = {"here": attempts, "task": in_a_task, "terminal": in_the_terminal}

if __name__ == "__main__":
    print(json.dumps(WHERE[sys.argv[1]]()), flush=True)
    os._exit(0)  # the terminal's connection has threads that stay
