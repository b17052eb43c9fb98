"""Why the server does not start, in one line for the administrator."""

FAILED = 1
# sysexits.h, EX_CONFIG: starting again without a change by the administrator is useless.
NEEDS_ATTENTION = 78
# The database could not be migrated, or was and then the start failed: nobody has used it since,
# so that `covalentctl` can go back to the previous environment and database.
MIGRATION_FAILED = 79


class Refusal(Exception):
    """The message says what is wrong, why, and what to do next."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
