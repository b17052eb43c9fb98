"""What is reached without a proxy."""

import unittest

import launcher  # noqa: F401
from covalent_service import proxies


def spared(address, **environ):
    proxies.spare(environ, address)
    return environ


class Spare(unittest.TestCase):
    def test_both_spellings_have_what_either_had_and_the_server(self):
        environ = spared("server.example.org", no_proxy="a, b", NO_PROXY="b,c", No_Proxy="d")
        for name in proxies.EXCEPTIONS:
            hosts = environ[name].split(",")
            self.assertEqual(hosts[:4], ["a", "b", "c", "d"])
            self.assertEqual(hosts[4:], [*proxies.LOOPBACK, "server.example.org"])

    def test_an_ipv6_address_is_there_with_brackets_and_without(self):
        hosts = spared("[2001:db8::1]")["no_proxy"].split(",")
        self.assertLessEqual({"[2001:db8::1]", "2001:db8::1"}, set(hosts))

    def test_everything_stays_everything(self):
        self.assertTrue(spared("localhost", NO_PROXY="*")["NO_PROXY"].startswith("*,"))


if __name__ == "__main__":
    unittest.main()
