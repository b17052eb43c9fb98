"""What is handed over to the launcher."""

import os
import unittest

import launcher  # noqa: F401
from covalent_service import secrets


class Secrets(unittest.TestCase):
    def test_is_read_from_the_file_that_was_handed_over(self):
        far_end, end = os.pipe()
        os.write(end, b"postgresql://a:b@c/d")
        os.close(end)
        environ = {secrets.DATABASE_DESCRIPTOR: str(far_end), "OTHER": "x"}
        secrets.take(environ)
        self.assertEqual(environ, {secrets.DATABASE: "postgresql://a:b@c/d", "OTHER": "x"})
        with self.assertRaises(OSError):
            os.fstat(far_end)

    def test_without_one_the_environment_counts(self):
        environ = {secrets.DATABASE: "sqlite:///x"}
        secrets.take(environ)
        self.assertEqual(environ, {secrets.DATABASE: "sqlite:///x"})
        secrets.forget(environ)
        self.assertEqual(environ, {})
