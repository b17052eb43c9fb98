"""Why the server does not start, in one line for the administrator."""

FAILED = 1
# sysexits.h, EX_CONFIG: starting again without a change by the administrator is useless.
NEEDS_ATTENTION = 78


class Refusal(Exception):
    """The message says what is wrong, why, and what to do next."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
