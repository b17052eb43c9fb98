"""Workers of Dask with a thread each, many in one process: what many machines would be to a scheduler.

    ENVIRONMENT/bin/python light.py SERVER|alone FOLDER ADDRESS FIRST COUNT LABELS

They work for a server of the packages at ADDRESS, with its launcher in SERVER, or for Dask alone;
their certificate, in the name `bench`, is in FOLDER.
"""

import asyncio
import sys
from pathlib import Path

from distributed import Worker
from distributed.security import Security


def security(folder):
    """Dask's own, by the same certificate in every role."""
    roles = ("client", "scheduler", "worker")
    files = {f"tls_{role}_cert": f"{folder}/worker.crt" for role in roles}
    files |= {f"tls_{role}_key": f"{folder}/worker.key" for role in roles}
    return Security(tls_ca_file=f"{folder}/ca.crt", require_encryption=True, **files)


async def main(server, folder, address, first, count, labels):
    # Without looking ten times a second at the memory that all of them are in.
    options = {"nthreads": 1, "memory_limit": 0, "host": "127.0.0.1", "dashboard_address": ":0"}
    if server == "alone":
        options["security"] = security(folder)
    else:
        sys.path.append(server)
        from covalent_service import adjustments, environment, joined, pages

        joined.join(Path(folder), "bench")
        pages.close()
        adjustments.idle_cluster()
        described = environment.describe()
        options["startup_information"] = {"environment": lambda _worker: described}
    if labels:
        options["resources"] = dict.fromkeys(labels.split(","), 1)
    numbers = range(int(first), int(first) + int(count))
    workers = [Worker(address, name=f"bench-{number}", **options) for number in numbers]
    await asyncio.gather(*workers)
    await asyncio.gather(*(worker.finished() for worker in workers))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
