"""Runs Covalent as a service: `<environment>/bin/python -I -X utf8 -u <this directory>`.

Isolated (`-I`), since it shall import nothing that tasks can write: not from its working directory, nor
from where PYTHONPATH leads. The processes that it starts are so, too. Everything else is read from
the environment. What happens, in this order:

1. the settings are read and checked, the port is bound (nothing else is touched if that fails),
2. the directories and covalent.conf are brought in line with the settings,
3. Covalent is imported, its database prepared, its Dask cluster started, its API served.

Exit codes: 0 stopped on request; 1 could not start, or failed while running; 78 could not
start for a reason that a restart does not cure (a wrong setting, a database to be looked at);
79 the database could not be migrated, or nothing was served from it after its migration.
"""

import gc
import multiprocessing
import os
import sys

from covalent_service import (
    account,
    configuration,
    directories,
    files,
    launch,
    listener,
    packages,
    proxy_socket,
    secrets,
    stored_socket,
)
from covalent_service.notify import Notifier
from covalent_service.settings import Settings

# The directory of this file was needed for the imports above; at the end of the path it
# cannot hide anything from the tasks, who inherit it.
sys.path.append(sys.path.pop(0))


def main() -> int:
    """Run the service until it is told to stop; return its exit code."""
    # Python 3.14 made forkserver the default, which carries no adjustment into a child.
    multiprocessing.set_start_method("fork")
    return launch.run(_serve, "server")


def _serve(notifier: Notifier) -> int:
    stored = stored_socket.taken_from(os.environ)
    database_address = secrets.take(os.environ)
    settings = Settings.read(os.environ)
    account.check(settings.home, os.environ)
    notifier.status("binding the port")
    over_unix, over_tcp = stored_socket.by_kind(stored)
    socket = listener.bind(settings.bind_address, settings.port, over_tcp)
    stored_socket.store(notifier, socket)
    proxy = proxy_socket.bind(settings.proxy_socket, over_unix)
    if proxy:
        stored_socket.store(notifier, proxy)
    settings.export(os.environ)
    packages.announce(os.environ)
    directories.create(settings)
    files.move_aside(settings)
    os.chdir(settings.work_dir)
    configuration.rewrite(
        settings.config_file,
        settings.heartbeat_interval,
        configuration.cores(),
        settings.local_workers,
    )
    notifier.status("loading Covalent")
    # All of it stays. To look for garbage again and again meanwhile takes a tenth of a start.
    gc.disable()
    from covalent_service import service  # imports Covalent, which reads all of the above

    return service.run(settings, socket, proxy, notifier, database_address)


if __name__ == "__main__":
    launch.leave(main())
