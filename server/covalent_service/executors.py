"""The administrator's own executors, which Covalent imports with itself."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from covalent_service.refusal import NEEDS_ATTENTION, Refusal


@contextmanager
def blamed(directory: Path) -> Iterator[None]:
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
