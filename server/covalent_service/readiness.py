"""Whether the server answers: asked over the network, as a client would."""

import http.client
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from threading import Thread

from covalent_service.logs import SERVICE
from covalent_service.notify import Notifier
from covalent_service.settings import Settings

# Reads the database, unlike "/", which answers even when nothing works; by an index, unlike the
# list of the UI, which takes fifteen times as long with ten thousand workflows.
QUESTION = "/api/v2/dispatches?dispatch_id=none"
EVERYWHERE = ("0.0.0.0", "::")
TIMEOUT = 10  # seconds for one answer
INTERVAL = 0.1  # seconds between two questions until the first answer
WATCH_INTERVAL = 5  # seconds from one question to the next for the watchdog
SILENCE = 15  # seconds without an answer that are worth a line in the journal
START_TIMEOUT = 60  # seconds from listening to the first good answer


class Readiness(Thread):
    """Says READY once, then keeps systemd's watchdog quiet as long as the server answers."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        notifier: Notifier,
        ready: Callable[[], None],
        give_up: Callable[[str], None],
    ) -> None:
        super().__init__(name="readiness", daemon=True)
        self._settings = settings
        host, self._port = listener.getsockname()[:2]
        self._host = "127.0.0.1" if host in EVERYWHERE else host
        self._notifier = notifier
        self._ready = ready
        self._give_up = give_up

    def run(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while (answer := self._ask()) != "200":
            if time.monotonic() > deadline:
                self._give_up(f"not ready after {START_TIMEOUT} seconds: {QUESTION} gave {answer}")
                return
            time.sleep(INTERVAL)
        self._ready()
        self._notifier.send(f"READY=1\nSTATUS=serving at {self._settings.url}")
        SERVICE.info("ready at %s", self._settings.url)
        if self._notifier.watchdog:
            self._watch()

    def _watch(self) -> None:
        """Ping systemd after each good answer, however late; say so when none comes."""
        answered = time.time()
        while True:
            began = time.time()
            answer = self._ask(self._notifier.watchdog, answered)
            if answer == "200":
                answered = time.time()
                self._notifier.send("WATCHDOG=1")
            else:
                SERVICE.error(
                    "no good answer for %d s, but %s: the last one came at %s",
                    time.time() - answered,
                    answer,
                    time.strftime("%H:%M:%S", time.localtime(answered)),
                )
            time.sleep(max(0, WATCH_INTERVAL - (time.time() - began)))

    def _ask(self, timeout: float = TIMEOUT, answered: float | None = None) -> str:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            connection.request("GET", QUESTION)
            # Not select(), which fails above descriptor 1023: a busy server has more.
            if answered and not wait([connection.sock], SILENCE):
                SERVICE.warning(
                    "%s has not been answered for %d s; the last answer came at %s",
                    QUESTION,
                    SILENCE,
                    time.strftime("%H:%M:%S", time.localtime(answered)),
                )
            return str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()
