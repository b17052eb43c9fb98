"""What a worker is told by its environment."""

import os
import unittest
from pathlib import Path

import launcher  # noqa: F401
from covalent_service.refusal import NEEDS_ATTENTION, Refusal
from covalent_service.worker_settings import WorkerSettings

JOINED = {
    "HOME": "/var/lib/covalent",
    "RUNTIME_DIRECTORY": "/run/covalent",
    "COVALENT_SERVER": "server.example.org:48009",
    "COVALENT_WORKER_NAME": "gpu1",
}


def read(**variables):
    return WorkerSettings.read({**JOINED, **variables})


class Values(unittest.TestCase):
    def test_defaults(self):
        settings = read(COVALENT_WORKER_PROCESSES="4")
        self.assertEqual(settings.folder, Path("/run/covalent-fleet"))
        self.assertEqual(settings.ports, range(48010, 48110))
        self.assertEqual((settings.memory, settings.resources, settings.address), (None, {}, ""))
        self.assertEqual(read().processes, os.cpu_count())

    def test_each_counts(self):
        settings = read(
            COVALENT_WORKER_PROCESSES="2",
            COVALENT_WORKER_MEMORY="8G",
            COVALENT_WORKER_RESOURCES="GPU=1, licence=2",
            COVALENT_WORKER_ADDRESS="[2001:db8::1]",
            COVALENT_WORKER_PORTS="50000-50003",
        )
        self.assertEqual(settings.processes, 2)
        self.assertEqual(settings.memory, 8 * 2**30)
        self.assertEqual(settings.resources, {"GPU": 1, "licence": 2})
        self.assertEqual(settings.address, "2001:db8::1")
        self.assertEqual(settings.ports, range(50000, 50004))

    def test_wrong_ones_are_refused_by_name(self):
        for name, value in (
            ("COVALENT_SERVER", "server.example.org"),
            ("COVALENT_WORKER_NAME", "../x"),
            ("COVALENT_WORKER_PROCESSES", "0"),
            ("COVALENT_WORKER_MEMORY", "8 gigabytes"),
            ("COVALENT_WORKER_RESOURCES", "GPU"),
            ("COVALENT_WORKER_ADDRESS", "gpu1"),
            ("COVALENT_WORKER_ADDRESS", "fe80::1"),
            ("COVALENT_WORKER_ADDRESS", "[fe80::1%eth0]"),
            ("COVALENT_WORKER_PORTS", "48010"),
            ("COVALENT_WORKER_PORTS", "48110-48010"),
            ("COVALENT_WORKER_PORTS", "65000-70000"),
        ):
            with self.subTest(name, value=value), self.assertRaisesRegex(Refusal, name) as refused:
                read(**{name: value})
            self.assertEqual(refused.exception.exit_code, NEEDS_ATTENTION)

    def test_too_few_ports_are_refused_with_what_to_type(self):
        with self.assertRaisesRegex(Refusal, "COVALENT_WORKER_PROCESSES to 2"):
            read(COVALENT_WORKER_PROCESSES="8", COVALENT_WORKER_PORTS="50000-50003")

    def test_who_has_joined_nothing_is_told_how_to(self):
        with self.assertRaisesRegex(Refusal, "covalentctl join"):
            read(COVALENT_SERVER="")


if __name__ == "__main__":
    unittest.main()
