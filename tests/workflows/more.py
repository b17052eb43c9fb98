"""What sample.py does not try: more kinds of workflows, run in the same way and with its options.

Nothing in them depends on which of two tasks is the faster one.
"""

import sys

from sample import check, completed, dispatch, kind, main, status, wait_for


def ended(dispatch_id):
    """Wait for the workflow, however it ends."""
    import covalent as ct

    return ct.get_result(dispatch_id, wait=True)


def task_statuses(dispatch_id):
    """name: status, of tasks and parameters."""
    import requests
    from covalent._shared_files.utils import format_server_url

    address = f"{format_server_url()}/api/v2/dispatches/{dispatch_id}"
    nodes = requests.get(address, timeout=10).json()["lattice"]["transport_graph"]["nodes"]
    return {node["metadata"]["name"]: node["metadata"]["status"] for node in nodes}


@kind
def tree():
    """Tasks that take arguments by place, by name, in lists and dictionaries, and print."""
    import covalent as ct

    @ct.electron
    def say(number):
        import sys

        print("out", number)
        print("err", number, file=sys.stderr)
        return {"number": number, "list": [number] * 3}

    @ct.electron
    def collect(first, *others, by_name=0, **more):
        # In which order a task is given them, PostgreSQL does not say.
        return first, others, by_name, sorted(more.items())

    @ct.lattice
    def workflow(number):
        return collect(
            say(number), say(1), [say(2), say(3)], by_name=say(4), zebra=say(5), ant={"a": say(6)}
        )

    found = completed(dispatch(workflow, 7))
    check([name for name, _ in found[3]] == ["ant", "zebra"], f"{found} found")


@kind
def half():
    """A task that fails among others, and what depends on it."""
    import covalent as ct

    @ct.electron
    def fail(number):
        raise ValueError(f"meant {number}")

    @ct.electron
    def more(number):
        return number + 1

    @ct.lattice
    def workflow(number):
        more(number)
        return more(fail(more(number)))

    result = ended(dispatch(workflow, 1))
    check(str(result.status) == "FAILED", f"FAILED expected, {result.status} found")


@kind
def failing_sublattice():
    """A workflow inside of a workflow that fails, in a task and before it has any."""
    import covalent as ct

    @ct.electron
    def fail():
        raise ValueError("meant inside")

    @ct.electron
    @ct.lattice
    def inner():
        return fail()

    @ct.electron
    @ct.lattice
    def unbuilt():
        raise ValueError("meant as it is built")

    for part in (inner, unbuilt):

        @ct.lattice
        def workflow():
            return part()  # noqa: B023  # it ends before the next turn

        result = ended(dispatch(workflow))
        check(str(result.status) == "FAILED", f"FAILED expected, {result.status} found")


@kind
def dependencies():
    """Calls before and after a task, and a command before it, on both executors."""
    import covalent as ct

    def greet(name):
        return f"hello {name}"

    def task(greeting=None):
        return greeting

    hooks = {
        "call_before": [ct.DepsCall(greet, args=["you"], retval_keyword="greeting")],
        "call_after": [ct.DepsCall(greet, args=["again"])],
        "deps_bash": ct.DepsBash(["true"]),
    }

    @ct.lattice
    def workflow():
        return [ct.electron(task, executor=name, **hooks)() for name in ("dask", "local")]

    found = completed(dispatch(workflow))
    check(found == ["hello you"] * 2, f"{found} found")


@kind
def waiting():
    """Tasks that wait for one that gives them nothing."""
    import covalent as ct

    @ct.electron
    def first():
        return 1

    @ct.electron
    def second():
        return 2

    @ct.lattice
    def workflow():
        before = first()
        after = second()
        ct.wait(after, [before])
        return after

    check(completed(dispatch(workflow)) == 2, "2 expected")


@kind
def other_inputs():
    """A workflow once more, with another input."""
    import covalent as ct

    @ct.electron
    def more(number):
        return number + 1

    @ct.lattice
    def workflow(number):
        return more(more(number))

    first = dispatch(workflow, 1)
    completed(first)
    again = ct.redispatch(first, reuse_previous_results=True)(5)
    check(completed(again) == 7, "7 expected")


@kind
def middle():
    """A workflow that is cancelled with one task finished, and goes on from there."""
    import covalent as ct

    @ct.electron
    def first():
        return 1

    @ct.electron
    def slow(number, seconds):
        import time

        time.sleep(seconds)
        return number

    @ct.electron
    def last(number):
        return number

    @ct.lattice
    def workflow(seconds):
        return last(slow(first(), seconds))

    dispatch_id = dispatch(workflow, 4)
    wait_for(lambda: task_statuses(dispatch_id)["slow"] == "RUNNING", "the second task")
    ct.cancel(dispatch_id)
    wait_for(lambda: status(dispatch_id) == "CANCELLED", "CANCELLED")
    check(task_statuses(dispatch_id)["first"] == "COMPLETED", "what was finished is lost")
    again = ct.redispatch(dispatch_id, reuse_previous_results=True)()
    check(completed(again) == 1, "1 expected")


@kind
def one_of_two():
    """A task that is cancelled alone."""
    import covalent as ct

    @ct.electron
    def slow():
        import time

        time.sleep(4)

    @ct.electron
    def quick():
        return 1

    @ct.lattice
    def workflow():
        return [slow(), quick()]

    dispatch_id = dispatch(workflow)

    def ready():
        found = task_statuses(dispatch_id)
        return (found["slow"], found["quick"]) == ("RUNNING", "COMPLETED")

    wait_for(ready, "the quick task")
    ct.cancel(dispatch_id, task_ids=[0])
    wait_for(lambda: status(dispatch_id) == "CANCELLED", "CANCELLED")


if __name__ == "__main__":
    sys.exit(main())
