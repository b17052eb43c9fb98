"""What the sandbox keeps tasks from: sandbox.py here|task|terminal. And what it does not keep them
from, since they share the server's account: sandbox.py powers.

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


def read_results_of_others():
    folder = "/var/lib/covalent/.local/share/covalent/data"
    results = [f"{path}/{name}" for path, _, names in os.walk(folder) for name in names]
    return len([open(name, "rb").read(1) for name in results])


def change_the_database():
    database = next(
        f"{path}/{name}"
        for path, _, names in os.walk("/var/lib/covalent")
        for name in names
        if name.endswith(".sqlite")
    )
    open(database, "rb+").close()
    return "open"


def read_the_memory_of_the_server():
    others = (name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid())
    server = next(
        name for name in others if b"/server\0" in open(f"/proc/{name}/cmdline", "rb").read()
    )
    start = int(open(f"/proc/{server}/maps").readline().split("-")[0], 16)
    memory = os.open(f"/proc/{server}/mem", os.O_RDONLY)
    return len(os.pread(memory, 16, start))


def leave_a_package():
    version = "{}.{}".format(*sys.version_info)
    folder = f"/var/lib/covalent/site/lib/python{version}/site-packages"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/left_behind.py", "w") as file:
        file.write("by = 'an earlier task'")
    return "left"


POWERS = (
    read_results_of_others,
    change_the_database,
    read_the_memory_of_the_server,
    leave_a_package,
)


def powers():
    return {power.__name__: outcome(power) for power in POWERS}


def import_what_was_left():
    import importlib

    return importlib.import_module("left_behind").by


def attempts():
    return {attempt.__name__: outcome(attempt) for attempt in ATTEMPTS}


def outcome(attempt):
    try:
        return attempt() or None
    except OSError:
        return None


def in_a_task(what="attempts"):
    import covalent as ct

    @ct.electron
    def task(file, what):
        import runpy

        return runpy.run_path(file)[what]()

    @ct.lattice
    def workflow(file, what):
        return task(file, what)

    return ct.get_result(ct.dispatch(workflow)(__file__, what), wait=True).result


def shared():
    return in_a_task("powers") | {"import_what_was_left": in_a_task("import_what_was_left")}


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


WHERE = {"here": attempts, "task": in_a_task, "terminal": in_the_terminal, "powers": shared}

if __name__ == "__main__":
    print(json.dumps(WHERE[sys.argv[1]]()), flush=True)
    os._exit(0)  # the terminal's connection has threads that stay
