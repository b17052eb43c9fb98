"""What a fleet takes for tasks of a known length, or for a large value, beside Dask alone.

    ENVIRONMENT/bin/python measure.py PROJECT tasks WORKERS TASKS SECONDS
    ENVIRONMENT/bin/python measure.py PROJECT value MEGABYTES

The first prints the seconds in which the workers register, those that the workflow takes, those from
its dispatch until its client has all results, and the first and the last of Dask alone with the same
tasks and as many workers; before that, each worker has had a short task, as what it loads for its first
would be loaded by a hundred machines, and not by this one; the second the seconds of a workflow of a task that makes a value, on one
machine, and of one that reads it, on another; those until its client has the value, too; the first of
the server's own workers, which share its disk; the seconds of Dask alone; and how many times the value
the server and its scheduler have in memory afterwards.
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(sys.argv[1])
sys.path[:0] = [str(PROJECT / "tests/server_env")]
import own_home  # noqa: E402, F401

# isort: split
import psutil  # noqa: E402
from distributed import Client, Scheduler  # noqa: E402

from fleet import Fleet  # noqa: E402
from light import security  # noqa: E402
from served import wait_for  # noqa: E402

EACH = 25  # workers in a process
LIMIT = 1800  # seconds
ROUNDS = 3  # of which the median is told, where it takes a second or two
MEGABYTE = 2**20

DISPATCH = """
import time
import covalent as ct

{tasks}

begin = time.monotonic()
result = ct.get_result(ct.dispatch(workflow)(), wait=True)
assert str(result.status) == "COMPLETED", (result.status, result.error)
print((result.end_time - result.start_time).total_seconds(), time.monotonic() - begin)
"""
SLEEP = """
@ct.electron
def sleep():
    import time
    time.sleep({seconds})

@ct.lattice
def workflow():
    for _ in range({count}): sleep()
"""
VALUE = """
one, other = ct.executor.DaskExecutor(), ct.executor.DaskExecutor()
{labels}

class Block:
    def __init__(self, content): self.content = content
    def __repr__(self): return "a block"

@ct.electron(executor=one)
def make():
    import os
    return Block(os.urandom({size}))

@ct.electron(executor=other)
def measure(block): return len(block.content)

@ct.lattice
def workflow(): return measure(make())
"""

LABELS = 'one.resources, other.resources = {"one": 1}, {"other": 1}'


@contextlib.contextmanager
def lights(server, folder, address, count, labels=()):
    """That many workers, in as many processes as there are labels, or as are needed."""
    shares = [(n, 1, label) for n, label in enumerate(labels)] or [
        (first, min(EACH, count - first), "") for first in range(0, count, EACH)
    ]
    file = Path(__file__).with_name("light.py")
    processes = [
        subprocess.Popen([sys.executable, str(file), server, folder, address, *map(str, share)])
        for share in shares
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def started():
    """The server, and the folder of the certificate that its workers will have, as will Dask's."""
    with Fleet() as server:
        server.start()
        folder = server.home / "bench"
        server.authority.issue("bench", folder)
        server.list("bench")
        wait_for(lambda: "listening for the fleet" in server.output)
        yield server, str(folder)


@contextlib.contextmanager
def fleet(server, folder, count, labels=()):
    """The server's workers; the seconds in which they registered."""
    launcher, address = str(PROJECT / "server"), f"tls://127.0.0.1:{server.fleet_port}"
    begin = time.monotonic()
    with lights(launcher, folder, address, count, labels):
        wait_for(lambda: server.known("bench").get("slots") == count, LIMIT)
        yield time.monotonic() - begin


@contextlib.asynccontextmanager
async def alone(folder, count, labels=()):
    """Dask, with as many workers and the same certificates; the seconds in which they registered."""
    secure = security(folder)
    options = {"host": "127.0.0.1", "protocol": "tls://", "dashboard_address": ":0"}
    async with Scheduler(security=secure, **options) as scheduler:
        begin = time.monotonic()
        with lights("alone", folder, scheduler.address, count, labels):
            while len(scheduler.workers) < count:
                await asyncio.sleep(0.05)
            registered = time.monotonic() - begin
            async with Client(scheduler.address, security=secure, asynchronous=True) as client:
                yield client, registered


async def tasks_alone(folder, workers, count, seconds):
    async with alone(folder, workers) as (client, registered):
        for number, length in ((workers, 0), (count, seconds)):
            begin = time.monotonic()
            sleeping = [client.submit(time.sleep, length, pure=False) for _ in range(number)]
            await client.gather(sleeping)
        return registered, time.monotonic() - begin


def run(server, tasks):
    """The seconds of the workflow itself, and those until its client has what came of it."""
    said = server.client(DISPATCH.format(tasks=tasks), seconds=LIMIT)
    workflow, client = map(float, said.split())
    return workflow, client


def tasks(workers, count, seconds):
    with started() as (server, folder):
        with fleet(server, folder, workers) as registered:
            for number, length in ((workers, 0), (count, seconds)):
                taken = run(server, SLEEP.format(seconds=length, count=number))
        server.stop()
        return registered, *taken, *asyncio.run(tasks_alone(folder, workers, count, seconds))


class Block:
    """As VALUE has it."""

    def __init__(self, content):
        self.content = content


def make(size):
    return Block(os.urandom(size))


def measure(block):
    return len(block.content)


async def value_alone(folder, size):
    async with alone(folder, 2, ("one", "other")) as (client, _):

        async def taken(size):
            begin = time.monotonic()
            made = client.submit(make, size, resources={"one": 1}, pure=False)
            await client.submit(measure, made, resources={"other": 1}, pure=False)
            return time.monotonic() - begin

        await taken(1)
        return statistics.median([await taken(size) for _ in range(ROUNDS)])


def memory(server):
    """Of the server and of its scheduler, which a process of its own has."""
    process = psutil.Process(server.process.pid)
    return sum(one.memory_info().rss for one in (process, *process.children()))


def passed(server, size, labels=""):
    """The seconds that it takes on this server, as `run` has them, after a small one."""
    run(server, VALUE.format(size=1, labels=labels))
    taken = [run(server, VALUE.format(size=size, labels=labels)) for _ in range(ROUNDS)]
    return tuple(map(statistics.median, zip(*taken)))


def value(size):
    with Fleet(local_workers=2) as server:
        server.start()
        local, _ = passed(server, size)
    with started() as (server, folder):
        with fleet(server, folder, 2, ("one", "other")):
            run(server, VALUE.format(size=1, labels=LABELS))  # all of it is loaded then
            before = memory(server)
            taken = passed(server, size, LABELS)
            time.sleep(2)
            left = (memory(server) - before) / size
        server.stop()
        return *taken, local, asyncio.run(value_alone(folder, size)), left


if __name__ == "__main__":
    what, *numbers = sys.argv[2:]
    if what == "tasks":
        print(*tasks(*map(int, numbers)))
    else:
        print(*value(int(numbers[0]) * MEGABYTE))
