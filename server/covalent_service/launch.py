"""What both launchers do around their work: they are heard from its beginning, and end with a code."""

import faulthandler
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from covalent_service import logs
from covalent_service.logs import SERVICE
from covalent_service.notify import Notifier
from covalent_service.refusal import FAILED, Refusal


def run(work: Callable[[Notifier], int], name: str) -> int:
    """Do it, and return its exit code; whatever it raises is said, and becomes one."""
    # What every thread is at, when systemd's watchdog ends a process that is silent.
    faulthandler.enable()
    logs.to_standard_error()
    notifier = Notifier.taken_from(os.environ)
    try:
        return work(notifier)
    except Refusal as refusal:
        SERVICE.error(refusal)
        notifier.status(str(refusal))
        return refusal.exit_code
    except KeyboardInterrupt:
        return 0
    except Exception:
        SERVICE.exception("the %s failed", name)
        return FAILED


def leave(code: int) -> NoReturn:
    """End now: threads and pools of Covalent and Dask would hold an ordinary exit up, some for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
