"""How fast a server on this machine runs small workflows, and what that costs; run as root.

    ENVIRONMENT/bin/python rates.py PORT WORKFLOWS TASKS

prints, each task being as small as can be, tasks a second from the dispatch to the last result, of
one workflow without the dispatch itself; milliseconds of CPU a task of the server's process; of all of the service, its workers too;
and of the server's process for the dispatch. With 1 and 1: the seconds from a dispatch to its
result, the same by Dask alone, and nothing else.
"""

import os
import statistics
import sys
import tempfile
import time

POLL = 0.02  # seconds between two questions
ROUNDS = 5  # workflows of which the latency is the median

port, workflows, tasks = sys.argv[1:4]
home = tempfile.TemporaryDirectory()
os.environ.update(HOME=home.name, COVALENT_SVC_PORT=port)

import covalent as ct  # noqa: E402
import psutil  # noqa: E402
import requests  # noqa: E402


@ct.electron
def task(number):
    return number


@ct.lattice
def workflow(count):
    for number in range(count):
        task(number)


def dispatch(count):
    return ct.dispatch(workflow)(count)


def wait(identifiers):
    """Until none of them runs; each must have completed."""
    address = f"http://localhost:{port}/api/v2/dispatches"
    with requests.Session() as session:
        for identifier in identifiers:
            question = {"dispatch_id": identifier, "status_only": True}
            while True:
                answer = session.get(address, params=question)
                # As released, a busy server answers some questions with "Internal Server Error".
                found = answer.json()["dispatches"][0]["status"] if answer.ok else "RUNNING"
                if found not in ("NEW_OBJECT", "STARTING", "RUNNING"):
                    break
                time.sleep(POLL if len(identifiers) == 1 and tasks == "1" else 0.25)
            if found != "COMPLETED":
                sys.exit(f"{identifier}: {found}")


def server():
    """The process that listens on the port."""
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr.port == int(port):
            return psutil.Process(one.pid)
    sys.exit(f"nobody listens on port {port}")


def seconds_of(process):
    used = process.cpu_times()
    return used.user + used.system


def latency():
    taken = []
    for _ in range(ROUNDS):
        begin = time.monotonic()
        wait([dispatch(1)])
        taken.append(time.monotonic() - begin)
    return statistics.median(taken)


def latency_of_dask():
    from distributed import Client, LocalCluster

    taken = []
    with LocalCluster(n_workers=1, dashboard_address=None) as cluster, Client(cluster) as client:
        for number in range(ROUNDS):
            begin = time.monotonic()
            client.submit(int, number).result()
            taken.append(time.monotonic() - begin)
    return statistics.median(taken)


def rates(count, size):
    process = server()
    family = [process, *process.children(recursive=True)]
    before, all_before = seconds_of(process), sum(map(seconds_of, family))
    begin = time.monotonic()
    identifiers = [dispatch(size) for _ in range(count)]
    # Of many, the first have ended by now.
    begin, dispatched = begin if count > 1 else time.monotonic(), seconds_of(process)
    wait(identifiers)
    taken, number = time.monotonic() - begin, count * size
    spent, all_spent = seconds_of(process), sum(map(seconds_of, family))
    each = 1000 / number
    return (
        number / taken,
        (spent - dispatched) * each,
        (all_spent - all_before) * each,
        (dispatched - before) * each,
    )


if __name__ == "__main__":
    wait([dispatch(2)])  # nothing is loaded for the first time
    if (workflows, tasks) == ("1", "1"):
        print(latency(), latency_of_dask())
    else:
        print(*rates(int(workflows), int(tasks)))
