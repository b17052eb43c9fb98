"""What each earlier Covalent was made to run; prints the workflows' numbers by name."""

import json
import os

import covalent as ct


def prepare():
    os.environ["PREPARED"] = "yes"


@ct.electron(executor="local", call_before=[ct.DepsCall(prepare)])
def add(a, b):
    print("adding")
    return a + b


@ct.electron(executor="local")
def fail(number):
    raise ValueError("broken on purpose")


@ct.electron(executor="local")
def function():
    return lambda: "made by an earlier Python"


@ct.electron(executor="local")
@ct.lattice(executor="local", workflow_executor="local")
def inner(number):
    return add(number, 1)


@ct.lattice(executor="local", workflow_executor="local")
def finished(a, b=2):
    """A workflow that ends well."""
    return add(a, b=b)


@ct.lattice(executor="local", workflow_executor="local")
def failing(number):
    return add(fail(number), 1)


@ct.lattice(executor="local", workflow_executor="local")
def nested(number):
    return inner(number)


@ct.lattice(executor="local", workflow_executor="local")
def returning_code():
    return function()


def run(workflow, *arguments):
    dispatch_id = ct.dispatch(workflow)(*arguments)
    ct.get_result(dispatch_id, wait=True)
    return dispatch_id


print(
    json.dumps(
        {
            "finished": run(finished, 1),
            "failing": run(failing, 1),
            "nested": run(nested, 5),
            "returning_code": run(returning_code),
        }
    )
)
