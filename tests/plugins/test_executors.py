"""Covalent lists the executor of every plugin, and each can be constructed."""

import unittest

from covalent.executor import _executor_manager

# What has no default. The rest comes from covalent.conf, as for a user who names an executor only.
ARGUMENTS = {
    "awsbatch": {},
    "awslambda": {},
    "azurebatch": {},
    "braket": {},
    "ec2": {},
    "ecs": {
        "ecs_task_subnet_id": "subnet-0123456789abcdef0",
        "ecs_task_security_group_id": "sg-0123456789abcdef0",
    },
    "gcpbatch": {},
    "hpc": {},
    "oci": {
        "shape": "VM.Standard.E2.1",
        "availability_domain": "giLp:US-ASHBURN-AD-1",
        "image_id": "ocid1.image.oc1.iad.a",
        "compartment_id": "ocid1.compartment.oc1..a",
    },
    "slurm": {},
    "ssh": {"username": "someone", "hostname": "localhost"},
}


class Executors(unittest.TestCase):
    def test_covalent_lists_every_one(self):
        self.assertLessEqual(set(ARGUMENTS), set(_executor_manager.executor_plugins_map))

    def test_each_can_be_constructed(self):
        for name, arguments in ARGUMENTS.items():
            with self.subTest(name):
                executor = _executor_manager.executor_plugins_map[name](**arguments)
                self.assertEqual(executor.short_name(), name)


if __name__ == "__main__":
    unittest.main()
