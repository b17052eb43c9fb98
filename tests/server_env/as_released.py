"""The launcher with Covalent's own dispatcher: without what raises its throughput.

It takes the launcher's place in a command: `python as_released.py`.
"""

import runpy
import sys
import types
from pathlib import Path

LAUNCHER = Path(__file__).resolve().parents[2] / "server"

sys.modules["covalent_service.throughput"] = types.SimpleNamespace(
    raise_throughput=lambda _store: None
)
runpy.run_path(str(LAUNCHER), run_name="__main__")
