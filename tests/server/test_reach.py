"""By which address a worker can be reached."""

import unittest

import launcher  # noqa: F401
from covalent_service.reach import Waiting, contact


class Contact(unittest.TestCase):
    def test_a_link_local_address_is_none_and_says_what_to_set(self):
        for address in ("192.0.2.1", "169.254.0.1", "2001:db8::1", "::1"):
            self.assertEqual(contact(address), address)
        for address in ("fe80::1", "fe80::1%eth0"):
            with self.assertRaisesRegex(Waiting, "COVALENT_WORKER_ADDRESS"):
                contact(address)


if __name__ == "__main__":
    unittest.main()
