"""Makes the modules of `server/` importable for the tests beside this file."""

import sys
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[2] / "server"

sys.path.insert(0, str(DIRECTORY))
