"""Imported before Covalent, which makes its files as it is imported: not in the home of who tests."""

import atexit
import os
import sys
import tempfile

from served import LAUNCHER

_home = tempfile.TemporaryDirectory(prefix="covalent-test-")
atexit.register(_home.cleanup)
os.environ["HOME"] = _home.name
for name in [name for name in os.environ if name.startswith(("COVALENT_", "XDG_"))]:
    del os.environ[name]
sys.path.append(str(LAUNCHER))
