"""Messages to systemd, as described in sd_notify(3): one datagram each."""

import socket
from collections.abc import MutableMapping


class Notifier:
    """Talks to the socket that systemd gave to the service; without one, says nothing."""

    def __init__(self, address: str = "", watchdog_microseconds: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        # Seconds that systemd waits for a ping; 0 means no watchdog.
        self.watchdog = int(watchdog_microseconds or 0) / 1_000_000

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> "Notifier":
        """Take the variables out of the environment, which the tasks inherit."""
        environ.pop("WATCHDOG_PID", None)
        return cls(environ.pop("NOTIFY_SOCKET", ""), environ.pop("WATCHDOG_USEC", ""))

    def status(self, text: str) -> None:
        """Show `text` in `systemctl status`."""
        self.send("STATUS=" + " ".join(text.split()))

    def send(self, message: str, *descriptors: int) -> None:
        """Send one message. Who does not listen any more misses it; the service goes on."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.connect(self._address)
                socket.send_fds(channel, [message.encode()], descriptors)
        except OSError:
            pass
