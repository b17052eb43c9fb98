"""Runs this machine's part of a fleet: `<environment>/bin/python -I -X utf8 -u worker.py`.

It is ready as soon as it runs, whether there is a server or not, and says in its status why it
waits. It comes back to the server by itself, with new processes: what the old ones were at has begun
again elsewhere.

Exit codes: 0 stopped on request; 1 the server is gone, to be started again; 78 could not start for a
reason that a restart does not cure; 80 the server's environment is another, whose lock was written
down for `covalentctl apply`.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

# Python leaves this directory out (-I). At the end of the path it cannot hide anything from the
# tasks, who inherit it.
sys.path.append(str(Path(__file__).resolve().parent))
from covalent_service import account, directories, launch, packages  # noqa: E402
from covalent_service.logs import SERVICE  # noqa: E402
from covalent_service.notify import Notifier  # noqa: E402
from covalent_service.refusal import FAILED  # noqa: E402
from covalent_service.worker_settings import WorkerSettings  # noqa: E402

ENVIRONMENT_DIFFERS = 80
LOCK = "server.lock"  # in the unit's RuntimeDirectory=
FIRST_PAUSE, LONGEST_PAUSE = 1, 15  # seconds from one try to the next


def main() -> int:
    """Run until told to stop; return the exit code."""
    return launch.run(_work, "worker")


def _work(notifier: Notifier) -> int:
    settings = WorkerSettings.read(os.environ)
    account.check(settings.home, os.environ, account.WORKER)
    packages.announce(os.environ)
    directories.create_own(settings.work_dir, settings.cache_dir, unit=account.WORKER)
    os.chdir(settings.work_dir)
    notifier.send("READY=1\nSTATUS=starting")
    return _follow(settings, notifier)


def _follow(settings: WorkerSettings, notifier: Notifier) -> int:
    from covalent_service.certificates import Identity
    from covalent_service.membership import Different, Lost, Membership
    from covalent_service.reach import Waiting, contact, own_address

    identity = Identity.of(settings.folder, "worker")
    lock = settings.run_dir / LOCK
    pause, said = FIRST_PAUSE, ""
    while True:
        try:
            address = own_address(settings.server, settings.name, identity)
            member = Membership(settings, settings.address or contact(address), notifier)
            asyncio.run(member.last())
            return 0
        except Different as different:
            if not lock.is_file() or lock.read_text() != different.lock:
                lock.write_text(different.lock)
                SERVICE.warning("%s: `covalentctl apply` is to make it so", different)
                return ENVIRONMENT_DIFFERS
            reason = str(different)  # covalentctl has seen that lock, and it was not enough
        except Waiting as waiting:
            reason = str(waiting)
        except Lost as lost:
            SERVICE.warning(lost)
            return FAILED
        text = f"waiting for {settings.server}: {reason}"
        if text != said:
            SERVICE.warning(text)
            said = text
        notifier.status(text)
        if notifier.watchdog:
            notifier.send("WATCHDOG=1")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


if __name__ == "__main__":
    code = main()
    if "psutil" in sys.modules:
        from covalent_service import children

        # At once: what they are at has begun again elsewhere, and Dask gives them half a minute.
        children.kill()
    launch.leave(code)
