"""The file that tells of the fleet's machines."""

import json
import tempfile
import types
import unittest
from pathlib import Path

import launcher  # noqa: F401
from covalent_service.roll import FILE, Roll, member


def worker(number, busy=0, **resources):
    return types.SimpleNamespace(
        address=f"tls://192.0.2.11:4801{number}",
        nthreads=1,
        processing=range(busy),
        resources=resources,
    )


class Members(unittest.TestCase):
    def test_all_processes_of_a_machine_count(self):
        one = member([worker(0, busy=1, GPU=1), worker(1, GPU=1)], draining=False, refusal="")
        self.assertEqual((one.state, one.busy, one.slots), ("running", 1, 2))
        self.assertEqual((one.resources, one.address), ({"GPU": 2}, "192.0.2.11"))

    def test_states(self):
        self.assertEqual(member([worker(0)], draining=True, refusal="").state, "draining")
        self.assertEqual(member([], draining=False, refusal="").state, "gone")
        refused = member([], draining=False, refusal="Python 3.13 here")
        self.assertEqual((refused.state, refused.reason), ("refused", "Python 3.13 here"))


class File(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.roll = Roll(self.folder)

    def written(self):
        return json.loads((self.folder / FILE).read_text())

    def test_a_state_keeps_the_time_since_which_it_is(self):
        self.roll.write({"w1": member([], False, "")}, {})
        since = self.written()["workers"]["w1"]["since"]
        self.assertGreater(since, 0)
        self.roll._members["w1"].since -= 100
        self.roll.write({"w1": member([], False, "")}, {})
        self.assertEqual(self.written()["workers"]["w1"]["since"], since - 100)
        self.roll.write({"w1": member([worker(0)], False, "")}, {"GPU": 2})
        self.assertGreaterEqual(self.written()["workers"]["w1"]["since"], since)
        self.assertEqual(self.written()["waiting"], {"GPU": 2})

    def test_what_has_not_changed_is_not_written_again(self):
        self.roll.write({"w1": member([], False, "")}, {})
        (self.folder / FILE).unlink()
        self.roll.write({"w1": member([], False, "")}, {})
        self.assertFalse((self.folder / FILE).exists())


if __name__ == "__main__":
    unittest.main()
