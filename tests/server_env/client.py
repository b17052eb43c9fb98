"""A client's program, run by a copy of a process that has loaded what Covalent's client takes from others.

Loading that takes two thirds of a client's time. Covalent itself reads its environment while it is loaded, so
each client loads it anew.
"""

import multiprocessing
import os
import runpy
import sys

# What others wrote and Covalent's client loads, at the top of what that loads in turn.
LOADED = ("aiofiles", "distributed", "networkx", "pydantic", "requests", "watchdog.observers")

copies = multiprocessing.get_context("forkserver")
copies.set_forkserver_preload([__name__, *LOADED])


def run(program, environment, output, errors):
    """Be a client with this environment, and write to these files."""
    for number, file in ((1, output), (2, errors)):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [program]
    runpy.run_path(program, run_name="__main__")
