"""A task's values in Covalent's form for files: made and read in one pass, to the same bytes."""

import binascii
import json
import os
import pickle
import resource
import shutil
import tempfile
import tracemalloc
import unittest
from pathlib import Path

import own_home  # noqa: F401

# isort: split
from covalent._workflow.transportable_object import TransportableObject
from covalent.executor.utils import wrappers

from covalent_service import carry, parcel, values
from covalent_service.parcel import Parcel
from covalent_service.values import STEP, Packed, Unpacked

LARGE = 20 * 2**20


class Block:
    """With a short text, whatever is in it."""

    def __init__(self, content):
        self.content = content

    def __repr__(self):
        return "a block"

    def __eq__(self, other):
        return self.content == other.content


class Torn(Block):
    """Whose text no file takes."""

    def __str__(self):
        return "\ud800"


class Described(Block):
    """Whose description is none."""

    def __init__(self):
        self.__doc__ = b"bytes"


VALUES = (
    None,
    0.5,
    "größer 😀",
    b"",
    {"a": [1, (2, {3})], "b": bytearray(b"c")},
    list(range(300_000)),
    [os.urandom(100) for _ in range(1000)],
    Block(b"x"),
    abs,
    dict,
    *(Block(os.urandom(STEP + more)) for more in (-40, -1, 0, 1, 2, 3)),
    [os.urandom(size) for size in (STEP - 1, 1, 2 * STEP + 2, 70_000, 1, STEP)],
    bytearray(os.urandom(STEP)),
)


def kept(value):
    return b"".join(Packed(value).pieces)


class Form(unittest.TestCase):
    def peak(self, work):
        """The memory that it takes at most, in times of the value's."""
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1] / LARGE
        finally:
            tracemalloc.stop()

    def test_covalent_still_copies_a_value_in_each_of_many_steps(self):
        value = Block(os.urandom(LARGE))
        self.assertGreater(self.peak(lambda: TransportableObject(value).serialize()), 3.5)
        file = kept(value)
        load = TransportableObject.deserialize
        self.assertGreater(self.peak(lambda: load(file).get_deserialized()), 3.5)

    def test_takes_one_pass(self):
        value = Block(os.urandom(LARGE))
        self.assertLess(self.peak(lambda: Packed(value)), 1.7)
        file = kept(value)
        self.assertLess(self.peak(lambda: Unpacked(file).get_deserialized()), 1.5)

    def test_is_covalents_to_the_last_byte(self):
        for number, value in enumerate(VALUES):
            with self.subTest(number):
                self.assertEqual(kept(value), TransportableObject(value).serialize())
                self.assertEqual(len(Packed(value)), len(kept(value)))

    def test_is_read_back(self):
        for number, value in enumerate(VALUES):
            file = TransportableObject(value).serialize()
            for content in (file, memoryview(bytearray(file))):
                with self.subTest(number):
                    self.assertEqual(Unpacked(content).get_deserialized(), value)

    def test_what_covalent_cannot_keep_is_the_same_error(self):
        for value in (Torn(1), Described(), (one for one in ())):
            with self.subTest(type(value)):
                with self.assertRaises(Exception) as released:
                    TransportableObject(value).serialize()
                with self.assertRaises(type(released.exception)) as ours:
                    Packed(value)
                self.assertEqual(str(ours.exception), str(released.exception))

    def test_what_is_cut_off_is_an_error(self):
        file = kept(list(range(100_000)))
        for size in (16, 200, len(file) - 400):
            with self.assertRaises((EOFError, binascii.Error, pickle.UnpicklingError)):
                Unpacked(file[:size]).get_deserialized()


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = f"{folder.name}/result"
        self.content = os.urandom(LARGE)

    def writes(self, way):
        """What the kernel was asked to write, how often."""

        def count():
            lines = dict(
                line.split(": ") for line in Path("/proc/self/io").read_text().splitlines()
            )
            return int(lines["syscw"])

        before = count()
        with way(self.path, "wb") as file:
            file.write(self.content)
        self.assertEqual(Path(self.path).read_bytes(), self.content)
        return count() - before

    def test_the_kernel_is_given_little_at_a_time(self):
        pieces = LARGE // values.PIECE
        self.assertLess(self.writes(open), pieces / 2)
        self.assertGreaterEqual(self.writes(values.open_anew), pieces)

    def test_a_file_that_there_is_no_room_for_is_an_error(self):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, before)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE - values.PIECE // 2, before[1]))
        with self.assertRaises(OSError):
            self.writes(values.open_anew)


def double(block):
    print("doubling")
    return Block(block.content * 2)


def fail(_block):
    raise ValueError("on purpose")


class Groups(unittest.TestCase):
    """What a worker leaves of tasks that Covalent sends together: the second reads the first's."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def job(self, name, last):
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / "input").write_bytes(TransportableObject(Block(os.urandom(STEP))).serialize())
        (place / "hooks").write_text("{}")
        for number, function in ((1, double), (2, last)):
            content = TransportableObject(function).serialize()
            (place / f"function-{number}").write_bytes(content)
        resources = {
            "functions": {number: f"file://{place}/function-{number}" for number in (1, 2)},
            "inputs": {0: f"file://{place}/input"},
            "hooks": {number: f"file://{place}/hooks" for number in (1, 2)},
        }
        specs = [
            {"electron_id": 1, "args": [0], "kwargs": {}},
            {"electron_id": 2, "args": [], "kwargs": {"block" if last is double else "_block": 1}},
        ]
        outputs = [
            tuple(str(place / f"{part}-{number}") for part in carry.PARTS) for number in (1, 2)
        ]
        about = {"dispatch_id": "d", "node_ids": [1, 2], "task_group_id": 1}
        return carry.Job(specs, resources, outputs, str(place), about, "")

    def left(self, job):
        """What is in the files, whose names are alike."""
        found = {path.name: path.read_bytes() for path in sorted(Path(job.folder).iterdir())}
        summaries = {
            name: json.loads(content.replace(job.folder.encode(), b"FOLDER"))
            for name, content in found.items()
            if name.endswith(".json")
        }
        return {**found, **summaries}

    def apart(self, job):
        sources = [Path(path).read_bytes() for path in job.sources()]
        carry.unpack(job, carry.run_apart(job, Parcel(sources)))

    def test_is_the_same_as_by_covalent_on_this_machine_and_on_another(self):
        for last in (double, fail):
            job = self.job("tasks", last)
            before = self.left(job)
            wrappers.run_task_group_alt(*job.arguments())
            released = self.left(job)
            self.assertIn("stdout-1", released)
            for way in (carry.run, self.apart):
                with self.subTest(last=last.__name__, way=way.__name__):
                    for name in released.keys() - before.keys():
                        (Path(job.folder) / name).unlink()
                    job.resources["inputs"].pop(1, None), job.resources["inputs"].pop(2, None)
                    way(job)
                    self.assertEqual(self.left(job), released)

    def test_nothing_is_left_on_the_other_machine(self):
        job = self.job("tasks", double)
        sources = [Path(path).read_bytes() for path in job.sources()]
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        before, tempfile.tempdir = tempfile.tempdir, str(elsewhere)
        try:
            answer = carry.run_apart(job, Parcel(sources))
        finally:
            tempfile.tempdir = before
        self.assertEqual(list(elsewhere.iterdir()), [])
        self.assertGreater(sum(map(len, answer.pieces)), 2 * STEP)

    def test_pieces_are_none_that_dask_would_cut(self):
        job = self.job("tasks", double)
        sources = [Path(path).read_bytes() for path in job.sources()]
        answer = carry.run_apart(job, Parcel(sources))
        self.assertLessEqual(max(map(len, answer.pieces)), parcel.PIECE)

    def test_covalents_own_functions_stay_as_they_are(self):
        self.assertIs(wrappers.run_task_group_alt.__globals__["wrapper_fn"], wrappers.wrapper_fn)
        self.assertIs(wrappers.TransportableObject, TransportableObject)
        self.assertIsNot(values.run_task_group, wrappers.run_task_group_alt)


if __name__ == "__main__":
    unittest.main()
