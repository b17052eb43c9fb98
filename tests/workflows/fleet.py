"""What server and worker exchange where they have no disk in common; with the options of sample.py.

Besides its own kinds it has those of sample.py and more.py. `machines` wants at least one worker on
another machine, and none on the server's; `label` one with GPU=1; the others any.
"""

import os
import sys
import time

import more  # noqa: F401 # for its kinds
from sample import check, completed, dispatch, kind, main, status, wait_for

LARGE = int(os.environ.get("LARGE", 100)) * 2**20  # bytes


@kind
def machines():
    """Tasks run elsewhere, and see no file of the server's."""
    import covalent as ct

    @ct.electron
    def look(path):
        import os
        import socket

        return socket.gethostname(), os.path.exists(path)

    @ct.lattice
    def workflow(path):
        return [look(path) for _ in range(4)]

    import socket

    found = completed(dispatch(workflow, "/run/covalent/fleet.json"))
    check(not any(seen for _, seen in found), f"{found}: a task saw the server's files")
    check(all(name != socket.gethostname() for name, _ in found), f"{found}: on the server")
    print(*sorted({name for name, _ in found}))


@kind
def printed():
    """What a task prints, and what it raises, comes back, each in its place."""
    import covalent as ct

    @ct.electron
    def fail():
        import sys

        print("said first")
        print("complained", file=sys.stderr)
        raise ValueError("meant to fail")

    @ct.lattice
    def workflow():
        return fail()

    node = ct.get_result(dispatch(workflow), wait=True).get_node_result(0)
    check(str(node["status"]) == "FAILED", node["status"])
    check(node["stdout"] == "said first\n", node["stdout"])
    check(node["stderr"].startswith("complained\n"), node["stderr"])
    check("ValueError: meant to fail" in node["stderr"], node["stderr"])


@kind
def calls():
    """What is called before a task and after it is called where the task is."""
    import covalent as ct

    def before(name):
        with open(name, "w") as file:
            file.write("written before")
        return f"returned for {name}"

    def after(name):
        import os

        os.unlink(name)

    name = f"calls-{time.time()}"
    hooks = {
        "call_before": [ct.DepsCall(before, args=[name], retval_keyword="told")],
        "call_after": [ct.DepsCall(after, args=[name])],
    }

    @ct.electron(**hooks)
    def read(name, told=None):
        with open(name) as file:
            return file.read(), told

    @ct.lattice
    def workflow(name):
        return read(name)

    found = completed(dispatch(workflow, name))
    check(tuple(found) == ("written before", f"returned for {name}"), found)


@kind
def same():
    """The same task three times in a workflow: three results."""
    import covalent as ct

    @ct.electron
    def draw():
        import random

        return random.random()

    @ct.lattice
    def workflow():
        return [draw(), draw(), draw()]

    found = completed(dispatch(workflow))
    check(len(set(found)) == 3, found)


@kind
def large():
    """A large value from one task to the next."""
    import covalent as ct

    class Block:
        def __init__(self, content):
            self.content = content

        def __repr__(self):  # Covalent keeps it beside the value
            return "a block"

    @ct.electron
    def make(size):
        import os

        return Block(os.urandom(size))

    @ct.electron
    def measure(block):
        return len(block.content)

    @ct.lattice
    def workflow(size):
        return measure(make(size))

    check(completed(dispatch(workflow, LARGE)) == LARGE, "another size")


@kind
def label():
    """Tasks that ask for a GPU run where there is one, the others anywhere."""
    import covalent as ct

    gpu = ct.executor.DaskExecutor()
    gpu.resources = {"GPU": 1}

    @ct.electron(executor=gpu)
    def on_gpu(number):
        import time

        time.sleep(0.2)
        return number

    @ct.electron
    def anywhere(number):
        return number

    @ct.lattice
    def workflow():
        return [on_gpu(number) for number in range(4)], [anywhere(number) for number in range(4)]

    check([list(some) for some in completed(dispatch(workflow))] == [[0, 1, 2, 3]] * 2, "others")


@kind
def ended():
    """The function of a task that is cancelled ends, and with it what it keeps busy."""
    import covalent as ct

    @ct.electron
    def sleep():
        import time

        time.sleep(600)

    @ct.electron
    def work():
        return 1

    @ct.lattice
    def asleep(count):
        return [sleep() for _ in range(count)]

    @ct.lattice
    def workflow(count):
        return [work() for _ in range(count)]

    # More than there are processes: otherwise one of them would do the rest.
    count = int(os.environ.get("PROCESSES", 4))
    dispatch_id = dispatch(asleep, count)
    wait_for(lambda: status(dispatch_id) == "RUNNING", "RUNNING")
    time.sleep(2)
    ct.cancel(dispatch_id)
    wait_for(lambda: status(dispatch_id) == "CANCELLED", "CANCELLED")
    check(completed(dispatch(workflow, count)) == [1] * count, "others")


if __name__ == "__main__":
    sys.exit(main())
