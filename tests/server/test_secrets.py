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
        self.assertEqual(secrets.take(environ), "postgresql://a:b@c/d")
        self.assertEqual(environ, {"OTHER": "x"})
        with self.assertRaises(OSError):
            os.fstat(far_end)

    def test_without_one_the_environment_counts(self):
        environ = {secrets.DATABASE: "sqlite:///x"}
        self.assertEqual(secrets.take(environ), "sqlite:///x")
        self.assertEqual(environ, {})
        self.assertEqual(secrets.take(environ), "")

    def test_is_shown_for_no_longer_than_it_is_needed(self):
        environ = {}
        with self.assertRaises(ZeroDivisionError), secrets.shown("sqlite:///x", environ):
            self.assertEqual(environ, {secrets.DATABASE: "sqlite:///x"})
            raise ZeroDivisionError
        self.assertEqual(environ, {})
        with secrets.shown("", environ):
            self.assertEqual(environ, {})
