"""This machine as one of a server's fleet: its certificate, and whom it answers."""

from pathlib import Path

import dask.config

from covalent_service import tls
from covalent_service.certificates import SERVER, Identity

# Where Dask's configuration, which its workers are handed, has what they need to know.
FOLDER = "covalent-service.fleet.folder"
NAME = "covalent-service.fleet.name"


def join(folder: Path, name: str) -> None:
    """Let Dask know, in this process and in those that it starts."""
    dask.config.set({FOLDER: str(folder), NAME: name})
    register()


def register() -> None:
    """Let Dask know this machine's certificate, in each process that connects or listens.

    Commands come from the server alone. A worker also talks to the process that watches over it.
    """
    known = (SERVER, dask.config.get(NAME))
    identity = Identity.of(Path(dask.config.get(FOLDER)), "worker")
    tls.Backend(identity, lambda peer, _address: peer.name in known).register()
