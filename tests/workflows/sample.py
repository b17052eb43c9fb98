"""One workflow of each kind against a running server; one line for each.

    ENVIRONMENT/bin/python sample.py [--port N] [--only tasks,cancel] [--list]

prints `PASS name seconds` or `FAIL name reason` and exits with 1 if any failed. Any user
may run it. It needs the Python of the server's environment, not an index, not a directory
that the server can see: what a task needs, it makes where it runs.
"""

import argparse
import base64
import io
import os
import signal
import sys
import tempfile
import time
import traceback
import uuid
import zipfile

TIME_LIMIT = 90  # seconds for one kind; the longest takes about ten on two slow cores

KINDS = {}


class TimeLimit(BaseException):
    """No `Exception`: the client library retries after those."""


def kind(function):
    KINDS[function.__name__] = function
    return function


def check(condition, reason):
    if not condition:
        raise AssertionError(reason)


def dispatch(lattice, *arguments):
    import covalent as ct

    return ct.dispatch(lattice)(*arguments)


def completed(dispatch_id):
    """Wait for the workflow and return its result."""
    import covalent as ct

    result = ct.get_result(dispatch_id, wait=True)
    check(str(result.status) == "COMPLETED", f"{result.status}: {result.error}")
    return result.result


def status(dispatch_id):
    import covalent as ct

    return str(ct.get_result(dispatch_id, status_only=True)["status"])


def wait_for(condition, what):
    """Poll; the time limit of the kind ends it, and `what` says what was missing."""
    global waiting_for
    waiting_for = what
    while not condition():
        time.sleep(0.2)
    waiting_for = ""


waiting_for = ""


@kind
def tasks():
    """Tasks in parallel, on the default executor."""
    import covalent as ct

    @ct.electron
    def square(number):
        return number * number

    @ct.electron
    def add(numbers):
        return sum(numbers)

    @ct.lattice
    def workflow(count):
        return add([square(number) for number in range(count)])

    found = completed(dispatch(workflow, 8))
    check(found == 140, f"140 expected, {found} found")


@kind
def local():
    """A task in the server's own process pool; it can write where it runs."""
    import covalent as ct

    @ct.electron(executor="local")
    def write(name):
        import os

        with open(name, "w") as file:
            file.write("written")
        os.unlink(name)
        return os.path.isabs(os.getcwd())

    @ct.lattice
    def workflow(name):
        return write(name)

    check(completed(dispatch(workflow, uuid.uuid4().hex)), "no absolute working directory")


@kind
def executors():
    """Executors as objects: they are made here, with this account's home in their settings."""
    import covalent as ct
    from covalent.executor import DaskExecutor, LocalExecutor

    @ct.electron(executor=LocalExecutor())
    def double(number):
        return 2 * number

    @ct.electron(executor=DaskExecutor())
    def increment(number):
        return number + 1

    @ct.lattice
    def workflow(number):
        return increment(double(number))

    found = completed(dispatch(workflow, 20))
    check(found == 41, f"41 expected, {found} found")


@kind
def sublattice():
    """A workflow inside of a workflow."""
    import covalent as ct

    @ct.electron
    def double(number):
        return 2 * number

    @ct.electron
    @ct.lattice
    def inner(number):
        return double(double(number))

    @ct.lattice
    def workflow(number):
        return double(inner(number))

    found = completed(dispatch(workflow, 5))
    check(found == 40, f"40 expected, {found} found")


@kind
def failing():
    """A task that fails, and the reason that the user is shown."""
    import covalent as ct

    @ct.electron
    def fail():
        raise ValueError("failed as the sample wants it")

    @ct.lattice
    def workflow():
        return fail()

    result = ct.get_result(dispatch(workflow), wait=True)
    check(str(result.status) == "FAILED", f"FAILED expected, {result.status} found")
    shown = result.get_node_result(0)["stderr"]
    check("failed as the sample wants it" in str(shown), f"the reason is not shown: {shown}")


@kind
def work():
    """What tasks do: compute, write, connect, start a program, run code made on the spot."""
    import covalent as ct

    @ct.electron
    def everything(name):
        import ctypes
        import mmap
        import multiprocessing
        import os
        import socket
        import subprocess

        with open(name, "w") as file:
            file.write("written")
        os.unlink(name)
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
        printed = subprocess.run(["sh", "-c", "echo started"], capture_output=True, check=True)
        memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(b"\xb8\x2a\x00\x00\x00\xc3")  # x86_64: return 42
        place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        shared = multiprocessing.RawValue("i", sum(range(100)))  # in memory that is a file
        return printed.stdout.decode(), ctypes.CFUNCTYPE(ctypes.c_int)(place)(), shared.value

    @ct.lattice
    def workflow(name):
        return everything(name)

    found = completed(dispatch(workflow, uuid.uuid4().hex))
    check(found == ("started\n", 42, 4950), f"{found} found")


@kind
def pip():
    """A package that a task brings along; what is installed travels with it, so no index is asked."""
    import covalent as ct

    def use(name):
        import importlib
        import subprocess

        answer = importlib.import_module(name).ANSWER
        command = ["pip", "uninstall", "--yes", name]
        done = subprocess.run(command, capture_output=True, text=True)
        return answer, done.returncode, done.stderr

    def task(name, executor):
        # Made where the task runs: what other tasks have made may be on another machine.
        wheel = f"/tmp/{name}-1.0-py3-none-any.whl"
        content = base64.b64encode(wheel_with_answer(name)).decode()
        return ct.electron(
            use,
            executor=executor,
            deps_bash=ct.DepsBash([f"echo {content} | base64 --decode >{wheel}"]),
            deps_pip=ct.DepsPip(packages=[wheel]),
            call_after=[ct.DepsCall(os.unlink, args=[wheel])],
        )

    names = [f"covalent_sample_{uuid.uuid4().hex[:8]}" for _ in range(2)]
    used = [task(name, executor) for name, executor in zip(names, ("dask", "local"))]

    @ct.lattice
    def workflow():
        return [task(name) for task, name in zip(used, names)]

    for found in completed(dispatch(workflow)):
        check(tuple(found[:2]) == (42, 0), f"42 and 0 expected, {found} found")


def wheel_with_answer(name):
    """A wheel with a module that has an ANSWER."""
    metadata = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "ANSWER = 42\n",
        f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nGenerator: sample\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{metadata}/RECORD"] = "".join(f"{file},,\n" for file in files)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    return content.getvalue()


@kind
def bash():
    """Shell commands before a task."""
    import covalent as ct

    name = uuid.uuid4().hex

    @ct.electron(deps_bash=ct.DepsBash([f"echo from bash > {name}"]))
    def read(name):
        import os

        with open(name) as file:
            text = file.read().strip()
        os.unlink(name)
        return text

    @ct.lattice
    def workflow(name):
        return read(name)

    found = completed(dispatch(workflow, name))
    check(found == "from bash", f"'from bash' expected, {found!r} found")


@kind
def redispatch():
    """A workflow once more, with the results that it has."""
    import covalent as ct

    @ct.electron
    def unique():
        import uuid

        return uuid.uuid4().hex

    @ct.electron
    def keep(text):
        return text

    @ct.lattice
    def workflow():
        return keep(unique())

    first = dispatch(workflow)
    before = completed(first)
    after = completed(ct.redispatch(first, reuse_previous_results=True)())
    check(before == after, "the results of the first run were not reused")


@kind
def trigger():
    """A workflow that starts again every second."""
    import covalent as ct
    import requests
    from covalent._shared_files.utils import format_server_url

    name = f"trigger_{uuid.uuid4().hex[:8]}"

    @ct.electron
    def one():
        return 1

    def workflow():
        return one()

    workflow.__name__ = name
    lattice = ct.lattice(workflow, triggers=ct.triggers.TimeTrigger(time_gap=1))
    dispatch_id = dispatch(lattice)

    def runs():
        address = f"{format_server_url()}/api/v1/dispatches/list"
        answer = requests.get(address, params={"search": name, "count": 10}, timeout=10).json()
        return sum(item["status"] == "COMPLETED" for item in answer["items"])

    try:
        wait_for(lambda: runs() >= 2, "two runs")
    finally:
        ct.stop_triggers(dispatch_id)


@kind
def transfer():
    """A file that rsync copies before a task, where the task runs."""
    import covalent as ct

    source = f"/tmp/{uuid.uuid4().hex}"
    copy = source + ".copy"

    @ct.electron(
        deps_bash=ct.DepsBash([f"printf copied >{source}"]),
        files=[ct.fs.FileTransfer(source, copy)],
    )
    def read(files=None):
        import os

        _, path = files[0]
        with open(path) as file:
            text = file.read()
        for file in files[0]:
            os.unlink(file)
        return text

    @ct.lattice
    def workflow():
        return read()

    found = completed(dispatch(workflow))
    check(found == "copied", f"'copied' expected, {found!r} found")


@kind
def cancel():
    """A task that is cancelled while it runs."""
    # Last, and not long: as released, Dask forgets a cancelled task, yet its worker is busy until it
    # ends, and what is given to that worker next waits.
    import covalent as ct

    @ct.electron
    def sleep():
        import time

        time.sleep(20)

    @ct.lattice
    def workflow():
        return sleep()

    dispatch_id = dispatch(workflow)
    wait_for(lambda: status(dispatch_id) == "RUNNING", "RUNNING")
    time.sleep(1)
    ct.cancel(dispatch_id)
    wait_for(lambda: status(dispatch_id) == "CANCELLED", "CANCELLED")


def run(name):
    """Run one kind within the time limit; return whether it passed."""
    global waiting_for
    waiting_for = ""
    start = time.monotonic()
    signal.alarm(TIME_LIMIT)
    try:
        KINDS[name]()
        signal.alarm(0)
        print(f"PASS {name} {time.monotonic() - start:.1f}", flush=True)
        return True
    except TimeLimit:
        missing = f" for {waiting_for}" if waiting_for else ""
        reason = f"waited {TIME_LIMIT} seconds{missing}"
    except Exception as error:
        signal.alarm(0)
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = f"{type(error).__name__}: {' / '.join(lines[-2:])}"
        if not isinstance(error, AssertionError):
            traceback.print_exc()
    print(f"FAIL {name} {reason}", flush=True)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="A,B", help="run these kinds only")
    parser.add_argument("--port", type=int, help="port of the server (default: 48008)")
    parser.add_argument("--address", help="host of the server (default: localhost)")
    parser.add_argument("--list", action="store_true", help="list the kinds and stop")
    options = parser.parse_args()
    if options.list:
        for name, function in KINDS.items():
            print(f"{name:12}{function.__doc__.splitlines()[0]}")
        return 0
    names = options.only.split(",") if options.only else list(KINDS)
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        parser.error(f"no such kind: {', '.join(unknown)}; known: {', '.join(KINDS)}")

    if options.port:
        os.environ["COVALENT_SVC_PORT"] = str(options.port)
    if options.address:
        os.environ["COVALENT_DISPATCHER_ADDR"] = options.address

    def at_limit(*_):
        raise TimeLimit

    signal.signal(signal.SIGALRM, at_limit)
    # A client keeps the address of its server in a file of its own from the first time on:
    # what an earlier run left there must not count.
    with tempfile.TemporaryDirectory(prefix="covalent-sample-") as home:
        os.environ["HOME"] = home
        for name in ("COVALENT_CONFIG_DIR", "XDG_CONFIG_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
            os.environ.pop(name, None)
        passed = [run(name) for name in names]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
