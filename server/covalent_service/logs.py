"""Where messages go: to the standard error, and to the file that the UI's Logs page reads."""

import logging
import logging.handlers
import os
from pathlib import Path

FILE_NAME = "covalent_ui.log"  # Covalent's name; its Logs page answers 500 without the file
FILE_SIZE = 5_000_000  # bytes
OLD_FILES = 3
# The form that the Logs page takes apart.
FILE_FORMAT = "[%(asctime)s] [%(levelname)s] %(message)s"

LETTERS = 64  # of a name that somebody else gave

SERVICE = logging.getLogger("covalent_service")


def to_standard_error() -> None:
    """Print the launcher's own messages. Time and level are the journal's business."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("covalent: %(message)s"))
    SERVICE.addHandler(handler)
    SERVICE.setLevel(logging.INFO)
    SERVICE.propagate = False


def to_file(directory: Path, *loggers: logging.Logger) -> None:
    """Send what these loggers say, and the launcher, to the file of the Logs page too."""
    handler = logging.handlers.RotatingFileHandler(
        directory / FILE_NAME, maxBytes=FILE_SIZE, backupCount=OLD_FILES, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter(FILE_FORMAT))
    for logger in (SERVICE, *loggers):
        logger.addHandler(handler)
    # Two processes that rotate one file lose half of it: children write to stderr only.
    os.register_at_fork(after_in_child=lambda: handler.setLevel(logging.CRITICAL + 1))


def printable(name: str) -> str:
    """A name that somebody else gave, such that it makes no line of its own."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:LETTERS])
