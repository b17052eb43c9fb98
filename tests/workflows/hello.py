"""A first workflow: three tasks, of which two run side by side. Prints its result.

Run it with the Python of the server's environment:

    /opt/virtualenvs/covalent/bin/python hello.py
"""

import covalent as ct


@ct.electron
def square(number):
    return number * number


@ct.electron
def add(first, second):
    return first + second


@ct.lattice
def sum_of_squares(first, second):
    return add(square(first), square(second))


if __name__ == "__main__":
    dispatch_id = ct.dispatch(sum_of_squares)(3, 4)
    print(f"dispatched {dispatch_id}")
    result = ct.get_result(dispatch_id, wait=True)
    print(f"3² + 4² = {result.result} ({result.status})")
    raise SystemExit(result.result != 25)
