"""Who may join the fleet: the machines of root's list, if tasks can run there."""

import functools
import re
import time
from pathlib import Path
from typing import Any

from distributed.comm import connect

from covalent_service import environment, tls
from covalent_service.certificates import SERVER, Identity, Peer
from covalent_service.logs import SERVICE

# Seconds in which a worker's port answers; a firewall drops what it does not let through.
REACH_TIMEOUT = 5
# Seconds for which a refusal is told of; a worker that is there tries again within 15.
REFUSAL_LASTS = 60
# What a worker's root needs to make its environment the server's, as the server's root has signed it.
LOCK = "server.lock"
PORTS = re.compile(r"\d{1,5}-\d{1,5}")


class Admission:
    """What a machine has to pass before Dask's scheduler takes its workers."""

    def __init__(self, folder: Path) -> None:
        # Root's list: names, and the fingerprint of the certificate that each was given.
        self.listed: dict[str, str] = {}
        self.backend = tls.Guarded(Identity.of(folder, SERVER), self._allowed)
        self._environment = environment.describe()
        self._lock = folder / LOCK
        self._refusals: dict[str, tuple[float, str]] = {}
        self._scheduler: Any = None

    def guard(self, scheduler: Any) -> None:
        """Stand in front of this scheduler."""
        self._scheduler = scheduler
        self.backend.register()
        register = scheduler.handlers["register-worker"]
        scheduler.handlers.update(
            {"admit": self._admit, "register-worker": self._checked(register)}
        )

    def workers_of(self, name: str) -> list[Any]:
        """The workers of a machine that are registered."""
        owners = self.backend.owners
        return [one for one in self._scheduler.workers.values() if owners.get(one.address) == name]

    def refusal(self, name: str) -> str:
        """Why this machine's workers were refused just now; empty if they were not."""
        at, reason = self._refusals.get(name, (0.0, ""))
        return reason if time.monotonic() - at < REFUSAL_LASTS else ""

    async def remove(self, name: str) -> None:
        """End what a machine is connected by that is off the list; its tasks begin again elsewhere."""
        for worker in self.workers_of(name):
            await self._scheduler.remove_worker(
                worker.address, stimulus_id=f"removed-{time.time()}", expected=True
            )
        self.backend.cut_off(name)

    def _allowed(self, peer: Peer, address: str) -> bool:
        """Whether this is a worker of the list, and, if it was connected to, the one that was meant."""
        listed = self.listed.get(peer.name) in ("", peer.fingerprint)
        return listed and self.backend.owners.get(address, peer.name) == peer.name

    async def _admit(
        self, comm: Any, machine: dict[str, Any], address: str, ports: str
    ) -> dict[str, str]:
        """Whether this machine's workers would be taken: asked before they are started."""
        name = comm.peer.name
        if reason := self._reason_against(name, address, machine):
            wrong = bool(self._difference(machine)) and self._lock.is_file()
            lock = self._lock.read_text() if wrong else ""
            return {**self._refuse(name, reason), "lock": lock}
        if not await self._reaches(name, address):
            which = f"ports {ports}" if PORTS.fullmatch(ports) else "its ports"
            return self._refuse(name, f"{_unreachable(address)}: let {which} through the firewall")
        self._refusals.pop(name, None)
        return {"status": "OK"}

    def _checked(self, register: Any) -> Any:
        """Dask takes whatever registers, also what dies of its tasks or cannot be asked for results."""

        @functools.wraps(register)
        async def register_checked(comm: Any, **message: Any) -> None:
            if not hasattr(comm, "peer"):  # of this machine
                return await register(comm, **message)
            name = comm.peer.name
            addresses = [one for one in (message["address"], message["nanny"]) if one]
            reason = self._reason_against(name, addresses[0], message["extra"].get("environment"))
            if not str(message["name"]).startswith(f"{name}-"):
                reason = f"{message['name']} is not a name of {name}'s"
            for address in [] if reason else addresses:
                if not await self._reaches(name, address):
                    reason = _unreachable(address)
            if reason:
                refusal = self._refuse(name, reason)
                await comm.write({**refusal, "status": "error", "message": reason})
                return None
            self.backend.owners.update(dict.fromkeys(addresses, name))
            self._refusals.pop(name, None)
            try:
                return await register(comm, **message)
            finally:
                for address in addresses:
                    self.backend.owners.pop(address, None)

        return register_checked

    def _reason_against(self, name: str, address: str, theirs: Any) -> str:
        if any(_host(worker.address) != _host(address) for worker in self.workers_of(name)):
            return f"another machine has joined as {name}"
        difference = self._difference(theirs)
        return difference and f"this machine's environment is not the server's: {difference}"

    def _difference(self, theirs: Any) -> str:
        return environment.difference(self._environment, theirs or {})

    async def _reaches(self, name: str, address: str) -> bool:
        """Whether this machine, and no other, answers there."""
        try:
            comm = await connect(address, timeout=REACH_TIMEOUT)
        except (OSError, ValueError):
            return False
        comm.abort()
        return bool(comm.peer.name == name)

    def _refuse(self, name: str, reason: str) -> dict[str, str]:
        if self.refusal(name) != reason:
            SERVICE.warning("refused: %s, %s", name, reason)
        self._refusals[name] = (time.monotonic(), reason)
        return {"status": "refused", "reason": reason}


def _unreachable(address: str) -> str:
    return f"the server cannot connect to {address.removeprefix('tls://')}"


def _host(address: str) -> str:
    return address.rpartition(":")[0]
