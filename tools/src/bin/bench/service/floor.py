"""Seconds since its start, given in seconds since 1970, that a start can't do without.

The server's modules, and its Dask cluster as Covalent starts it. The workers import this file: it
does nothing then.
"""

import os
import sys
import tempfile
import time


def main(began):
    with tempfile.TemporaryDirectory() as home:
        # Covalent writes its settings when it is imported.
        os.environ["HOME"] = home
        from multiprocessing import Pipe

        import psutil
        from covalent._shared_files import logger
        from covalent_dispatcher._service.app_dask import DaskCluster
        from covalent_ui import app  # noqa: F401

        here, there = Pipe()
        cluster = DaskCluster(name="floor", logger=logger.app_log, conn=there)
        cluster.start()
        here.recv()
        print(time.time() - float(began))
        for process in psutil.Process().children(recursive=True):
            process.kill()


if __name__ == "__main__":
    main(sys.argv[1])
