"""What a small workflow takes by two ways to the same server, in turns.

    ENVIRONMENT/bin/python workflows.py ROUNDS ADDRESS ADDRESS

prints the median of the seconds from a dispatch to its result, for each address.
"""

import os
import statistics
import sys
import tempfile
import time

home = tempfile.TemporaryDirectory()
os.environ["HOME"] = home.name

import covalent as ct  # noqa: E402


@ct.electron
def double(number):
    return 2 * number


@ct.lattice
def workflow(number):
    return double(double(double(number)))


def seconds(address):
    begin = time.monotonic()
    dispatch_id = ct.dispatch(workflow, dispatcher_addr=address)(5)
    result = ct.get_result(dispatch_id, wait=True, dispatcher_addr=address)
    if result.result != 40:
        sys.exit(f"{address}: {result}")
    return time.monotonic() - begin


rounds, addresses = int(sys.argv[1]), sys.argv[2:]
taken = {address: [] for address in addresses}
for number in range(rounds + 1):
    for address in addresses:
        found = seconds(address)
        if number:  # nothing is loaded for the first time
            taken[address].append(found)
print(*(statistics.median(taken[address]) for address in addresses))
