"""The executors: Covalent's own, those of packages, and the administrator's files.

Covalent imports them all with itself. Tasks can write such a file, so that here it is done when
nothing in this process leads to the database's address any more by its environment.
"""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from covalent_service import packages
from covalent_service.refusal import NEEDS_ATTENTION, Refusal

SWITCH = "COVALENT_PLUGIN_LOAD"  # Covalent's: whether to load any


@contextmanager
def held_back() -> Iterator[None]:
    """Have what imports Covalent import no executor with it."""
    wanted = os.environ.get(SWITCH)
    os.environ[SWITCH] = "false"
    try:
        yield
    finally:
        del os.environ[SWITCH]
        if wanted is not None:
            os.environ[SWITCH] = wanted


def load(directory: Path) -> None:
    """Import them as Covalent would have done, unless the environment says that it shall not."""
    from covalent import executor

    packages.make_importable(packages.given(os.environ))  # what theirs may need
    manager = executor._executor_manager
    if os.environ.get(SWITCH, "true").lower() == "true":
        with _blamed(directory):
            manager.generate_plugins_list()
    for plugin in manager.executor_plugins_map.values():
        setattr(executor, plugin.__name__, plugin)


@contextmanager
def _blamed(directory: Path) -> Iterator[None]:
    """One that cannot be imported is named, instead of Covalent's way to it."""
    try:
        yield
    except Exception as error:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        files.append(getattr(error, "filename", None) or "")  # of a SyntaxError
        own = [file for file in files if directory in Path(file).parents]
        if not own:
            raise
        raise Refusal(
            f"the executor {own[-1]} cannot be loaded: {type(error).__name__}: {error}; "
            "correct it, or move it out of that directory",
            NEEDS_ATTENTION,
        ) from None
