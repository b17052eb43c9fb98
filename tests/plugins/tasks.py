"""Tasks as Covalent hands them to an executor, and where an executor's own parts are played."""

import logging
import sys
from functools import partial
from pathlib import Path

import cloudpickle
from covalent import TransportableObject
from covalent.executor.utils.wrappers import wrapper_fn

# unittest has asyncio report each step that took 0.1 s.
logging.getLogger("asyncio").setLevel(logging.ERROR)
# The other side of an executor has none of these modules.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

DISPATCH = "41c1e4b1-0000-4000-8000-000000000000"


def double(number):
    return 2 * number


def task(function, argument):
    """What Covalent's runner gives to `run`: the function, its arguments, no others."""
    wrapped = partial(wrapper_fn, TransportableObject(function), [], [])
    return wrapped, [TransportableObject(argument)], {}


def metadata(folder, node=0):
    """The data about a task that come with it."""
    (Path(folder) / DISPATCH).mkdir(parents=True, exist_ok=True)
    return {"dispatch_id": DISPATCH, "node_id": node, "results_dir": str(folder)}


def carry_out(pickled):
    """What a container or a function in a cloud does with a task; the pickled result."""
    function, args, kwargs = cloudpickle.loads(pickled)
    return cloudpickle.dumps(function(*args, **kwargs))
