"""The address of a database, as PostgreSQL's own programs are told it."""

import os
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import launcher  # noqa: F401
from covalent_service.postgresql import PostgreSQL

# In the place of psql: shows what it is told.
PROGRAM = """#!/bin/sh
echo "$PGSERVICE"
cat "$PGSERVICEFILE"
"""


class Address(unittest.TestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        program = Path(directory.name, "psql")
        program.write_text(PROGRAM)
        program.chmod(0o700)
        path = f"{directory.name}:{os.environ['PATH']}"
        variables = mock.patch.dict(os.environ, PATH=path)
        variables.start()
        self.addCleanup(variables.stop)

    def told(self, address):
        first, section, *lines = PostgreSQL(address)._ask("").splitlines()
        self.assertEqual((first, section), ("covalent", "[covalent]"))
        return dict(line.split("=", 1) for line in lines)

    def test_password_is_taken_as_sqlalchemy_takes_it(self):
        for written, meant in (
            ("pa#ss", "pa#ss"),
            ("pa?ss", "pa?ss"),
            ("pa/ss", "pa/ss"),
            ("pa[ss", "pa[ss"),
            ("a:b]=c", "a:b]=c"),
            ("s3%25cr%2Fet%40x", "s3%cr/et@x"),
        ):
            with self.subTest(written):
                self.assertEqual(
                    self.told(f"postgresql+psycopg2://me:{written}@host.example:5433/workflows"),
                    {
                        "host": "host.example",
                        "port": "5433",
                        "user": "me",
                        "password": meant,
                        "dbname": "workflows",
                    },
                )

    def test_other_forms(self):
        for address, told in (
            ("postgresql://", {}),
            ("postgresql:///workflows", {"dbname": "workflows"}),
            ("postgresql://me@/a%20b", {"user": "me", "dbname": "a%20b"}),
            ("postgresql://[::1]:1/d", {"host": "::1", "port": "1", "dbname": "d"}),
            ("postgresql://Host/d?port=1", {"host": "Host", "dbname": "d", "port": "1"}),
            ("postgresql:///d?host=%2Frun&user=me", {"dbname": "d", "host": "/run", "user": "me"}),
        ):
            with self.subTest(address):
                self.assertEqual(self.told(address), told)

    def test_an_address_that_cannot_be_used_is_not_shown(self):
        for address in ("postgresql:me:s3cret@host", "postgresql://me:s3c%0Aret@h/d"):
            with self.subTest(address), self.assertRaises(ValueError) as refused:
                PostgreSQL(address)
            self.assertNotIn("s3c", str(refused.exception))


if __name__ == "__main__":
    unittest.main()
