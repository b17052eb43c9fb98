"""Each adjustment for a fleet against the Covalent and the Dask in this environment.

As in test_adjustments.py, a test named `test_..._still_...` that fails means good news.
"""

import asyncio
import contextlib
import inspect
import logging
import mmap
import pickle
import re
import socket
import ssl
import tempfile
import threading
import types
import unittest
from pathlib import Path
from unittest import mock

import own_home  # noqa: F401

# isort: split
import dask.config
from covalent.executor.executor_plugins import dask as plugin
from covalent.executor.schemas import ResourceMap, TaskSpec
from covalent_dispatcher._service import app_dask
from dask._task_spec import Task
from distributed import Client, Scheduler, Worker, nanny
from distributed.comm import listen
from distributed.protocol import utils
from distributed.protocol.serialize import Serialized, deserialize, serialize
from distributed.security import Security

from covalent_service import (
    adjustments,
    carry,
    certificates,
    dask_executor,
    parcel,
    plain,
    tls,
    waiting,
)
from covalent_service.certificates import Identity
from covalent_service.parcel import Parcel
from fleet import Authority

FILES = ("function", "hooks", "node_1")
METADATA = {"dispatch_id": "d", "node_ids": [0], "task_group_id": 0}


def adjusted(cls):
    """A class of its own, for the adjustment to change."""
    return type(cls.__name__, (cls,), {})


@contextlib.asynccontextmanager
async def cluster(scheduler=Scheduler, resources=({},), **options):
    """A scheduler, workers with one thread each, and a client, all in this process."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        there = await enter(scheduler(host="127.0.0.1", dashboard_address=":0", **options))
        workers = [
            await enter(
                Worker(
                    there.address, nthreads=1, resources=one, dashboard_address=":0", name=str(n)
                )
            )
            for n, one in enumerate(resources)
        ]
        client = await enter(Client(there.address, asynchronous=True))
        yield there, workers, client


class Waiting(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.enterContext(dask.config.set({"distributed.worker.daemon": False}))
        self.go_on = threading.Event()
        self.addCleanup(self.go_on.set)
        self.order = []

    def enterContext(self, manager):  # from Python 3.11 on there is one
        self.addCleanup(manager.__exit__, None, None, None)
        return manager.__enter__()

    def scheduler(self):
        self.enterContext(dask.config.set({"distributed.scheduler.worker-saturation": 1.0}))
        scheduler = adjusted(Scheduler)
        waiting.wait_at_the_scheduler(scheduler)
        return scheduler

    def work(self, number):
        self.go_on.wait(20)
        self.order.append(number)

    def submit(self, client, count, **options):
        """Functions of this process: what a worker in it is given as it is."""
        name = f"waiting-{id(self)}"
        CASES[name] = self
        return [
            client.submit(at_work, name, number, key=f"task-{number}-{options}", **options)
            for number in range(count)
        ]

    async def handed_out(self, scheduler, **options):
        async with cluster(scheduler, **options) as (there, _, client):
            labels = {"resources": {"GPU": 1}} if "resources" in options else {}
            futures = self.submit(client, 4, **labels)
            while len(there.tasks) < len(futures):  # each is handed out, or waits, as it comes
                await asyncio.sleep(0.01)
            found = max(len(worker.processing) for worker in there.workers.values())
            self.go_on.set()
            await client.gather(futures)
        return found

    async def test_dask_still_hands_tasks_to_busy_workers(self):
        self.assertGreater(await self.handed_out(Scheduler), 1)
        self.go_on.clear()
        self.assertGreater(await self.handed_out(Scheduler, resources=({"GPU": 1},)), 1)

    async def test_they_wait_at_the_scheduler_and_begin_in_their_order(self):
        self.assertEqual(await self.handed_out(self.scheduler()), 1)
        self.assertEqual(self.order, [0, 1, 2, 3])

    async def test_so_do_those_with_labels(self):
        found = await self.handed_out(self.scheduler(), resources=({"GPU": 1},))
        self.assertEqual(found, 1)
        self.assertEqual(self.order, [0, 1, 2, 3])

    async def test_who_waits_for_a_label_is_in_nobodys_way(self):
        resources = ({"GPU": 1}, {})
        async with cluster(self.scheduler(), resources=resources) as (there, _, client):
            labelled = self.submit(client, 3, resources={"GPU": 1})
            free = [client.submit(abs, -number, key=f"free-{number}") for number in range(5)]
            self.assertEqual(await client.gather(free), [0, 1, 2, 3, 4])
            self.assertEqual(len(there.queued), 2)
            self.go_on.set()
            await client.gather(labelled)

    async def test_what_nobody_has_waits_and_begins_when_somebody_comes_with_it(self):
        async with cluster(self.scheduler()) as (there, _, client):
            (future,) = self.submit(client, 1, resources={"GPU": 1})
            while not there.queued:
                await asyncio.sleep(0.01)
            self.go_on.set()
            options = {"nthreads": 1, "resources": {"GPU": 1}, "dashboard_address": ":0"}
            async with Worker(there.address, **options):
                await future

    def test_dask_still_waits_for_ever_for_a_worker_that_fits(self):
        self.assertIsNone(dask.config.get("distributed.scheduler.no-workers-timeout"))


CASES = {}


def at_work(name, number):
    CASES[name].work(number)


class Registration(unittest.IsolatedAsyncioTestCase):
    async def is_taken(self, **options):
        async with Scheduler(host="127.0.0.1", dashboard_address=":0") as scheduler:
            async with Worker(scheduler.address, nthreads=1, dashboard_address=":0", **options):
                while not scheduler.running:
                    await asyncio.sleep(0.01)

    async def test_dask_still_takes_another_python(self):
        from distributed import worker

        versions = worker.get_versions()
        packages = {**versions["packages"], "python": "3.7.1.final.0"}
        other = mock.patch.object(
            worker, "get_versions", lambda: {**versions, "packages": packages}
        )
        with other, self.assertLogs("distributed.worker", logging.WARNING):
            await asyncio.wait_for(self.is_taken(), 10)

    async def test_dask_still_takes_a_worker_that_nobody_reaches(self):
        await asyncio.wait_for(self.is_taken(contact_address="tcp://127.0.0.1:1"), 10)


class Handshakes(unittest.IsolatedAsyncioTestCase):
    """How little Dask asks of a certificate, and how often it says so."""

    def setUp(self):
        from fleet import Authority

        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        place = Path(folder.name)
        Authority(place / "authority").issue("w1", place / "w1")
        certificate, key = str(place / "w1/worker.crt"), str(place / "w1/worker.key")
        self.security = Security(
            require_encryption=True,
            tls_ca_file=str(place / "w1/ca.crt"),
            tls_scheduler_cert=certificate,
            tls_scheduler_key=key,
        )

    def test_dask_still_asks_for_no_name(self):
        arguments = self.security.get_connection_args("scheduler")
        self.assertFalse(arguments["ssl_context"].check_hostname)
        self.assertNotIn("server_hostname", arguments)
        self.assertEqual(arguments["ssl_context"].verify_mode, ssl.CERT_REQUIRED)

    async def test_dask_still_says_so_each_time(self):
        arguments = self.security.get_listen_args("scheduler")
        listener = await listen("tls://127.0.0.1:0", None, **arguments)
        place = listener.get_host_port()
        with self.assertLogs("distributed.comm.tcp", logging.WARNING) as said:
            for number in range(3):
                await asyncio.to_thread(self.knock, place)
                for _ in range(1000):  # it says so after it has hung up
                    if len(said.records) > number:
                        break
                    await asyncio.sleep(0.01)
        listener.stop()
        self.assertEqual(len(said.records), 3)

    def knock(self, place):
        with socket.create_connection(place) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while plain.recv(100):
                    pass


class Ends(unittest.TestCase):
    """What the end of one connection does to another that the same thread reads."""

    def setUp(self):
        from fleet import Authority

        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        place = Path(folder.name)
        Authority(place / "authority").issue("server", place, role="server")
        self.identity = certificates.Identity.of(place, certificates.SERVER)

    def connection(self, kind):
        """Both of its ends; nothing is on the way."""
        ends = [None, None]
        protocols = (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)

        def wrap(number, plain):
            context = self.identity.context(protocols[number])
            context.sslsocket_class = kind or context.sslsocket_class
            ends[number] = context.wrap_socket(plain, server_side=not number)
            self.addCleanup(ends[number].close)

        near, far = socket.socketpair()
        other = threading.Thread(target=wrap, args=(1, far))
        other.start()
        wrap(0, near)
        other.join()
        ends[1].send(b"x")  # with the first bytes, OpenSSL forgets its notes by itself
        self.assertEqual(ends[0].recv(1), b"x")
        ends[0].setblocking(False)
        return ends

    def said(self, kind=None):
        """By a connection whose other end is gone without a word, and by one with nothing to read."""
        near, _ = self.connection(kind)
        left, gone = self.connection(kind)
        gone.shutdown(socket.SHUT_RDWR)
        return self.said_by(left), self.said_by(near)

    def said_by(self, connection):
        try:
            return connection.recv(1)  # at its end OpenSSL answers, which fails
        except OSError as error:
            return type(error)

    def test_python_still_ends_another_connection(self):
        left, near = self.said(ssl.SSLSocket)
        # What has another name for the failed answer, such as Python 3.11.2, forgets it.
        self.assertIs(near, left if left is BrokenPipeError else ssl.SSLWantReadError)

    def test_connections_of_the_fleet_end_alone(self):
        _, near = self.said()
        self.assertIs(near, ssl.SSLWantReadError)


class FakeClient:
    """In place of Dask's: notes what it is given."""

    submitted: list = []

    def __init__(self, **options):
        self.options = options

    def __await__(self):
        return asyncio.sleep(0).__await__()

    def submit(self, *arguments, **options):
        self.submitted.append((arguments, options))
        return mock.Mock(key=options["key"])


class Sending(unittest.IsolatedAsyncioTestCase):
    """What Covalent's executor gives to Dask."""

    OWN, ANOTHERS = "unix://127.0.0.1:1", "tcp://192.0.2.1:8786"

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        FakeClient.submitted = []
        names = {**plugin.DaskExecutor.send.__globals__, "Client": FakeClient}
        copied = {
            name: types.FunctionType(
                function.__code__, names, name, function.__defaults__, function.__closure__
            )
            for name, function in vars(plugin.DaskExecutor).items()
            if name in ("send", "run", "cancel")
        }
        self.executor = type("DaskExecutor", (plugin.DaskExecutor,), copied)

    async def sent(self, address=OWN, **attributes):
        executor = self.executor(scheduler_address=address, cache_dir=str(self.folder))
        vars(executor).update(attributes)
        uris = {name: f"file://{self.folder}/{name}" for name in FILES}
        resources = ResourceMap(
            functions={0: uris["function"]}, inputs={1: uris["node_1"]}, hooks={0: uris["hooks"]}
        )
        spec = TaskSpec(electron_id=0, args=[1], kwargs={})
        with mock.patch.object(executor, "set_job_handle", mock.AsyncMock()):
            await executor.send([spec], resources, METADATA)
        ((function, *arguments), options), *others = FakeClient.submitted
        self.assertEqual(others, [])
        return function, arguments, options

    async def test_covalent_still_names_the_files_by_their_paths(self):
        function, arguments, options = await self.sent()
        self.assertIs(function, plugin.run_task_group_alt)
        self.assertEqual(arguments[1]["functions"], {0: f"file://{self.folder}/function"})
        self.assertNotIn("resources", options)

    async def test_sent_as_a_job_it_can_travel(self):
        dask_executor.files_travel(self.executor)
        function, (job,), _ = await self.sent()
        self.assertIs(function, carry.run)
        self.assertEqual(set(job.sources()), {str(self.folder / name) for name in FILES})

    async def test_somebody_elses_cluster_gets_what_covalent_sends(self):
        dask_executor.files_travel(self.executor)
        function, *_ = await self.sent(self.ANOTHERS)
        self.assertIs(function, plugin.run_task_group_alt)

    def test_covalent_still_has_no_labels(self):
        self.assertNotIn("resources", inspect.signature(plugin.DaskExecutor).parameters)

    async def test_labels(self):
        dask_executor.files_travel(self.executor)
        dask_executor.labels(self.executor)
        *_, options = await self.sent(resources={"GPU": 1})
        self.assertEqual(options["resources"], {"GPU": 1})

    async def test_labels_that_are_none_are_refused(self):
        dask_executor.files_travel(self.executor)
        dask_executor.labels(self.executor)
        for wrong in ("GPU", {"GPU": 0}, {"GPU": "1"}, [1]):
            with self.subTest(wrong), self.assertRaisesRegex(ValueError, "such as"):
                await self.sent(resources=wrong)


class Cancelling(unittest.IsolatedAsyncioTestCase):
    async def test_covalent_still_lets_a_cancelled_function_run_on(self):
        """What ends it needs a server: test_fleet.py."""
        began, go_on, ended = threading.Event(), threading.Event(), threading.Event()
        CASES["cancelling"] = types.SimpleNamespace(
            work=lambda _: (began.set(), go_on.wait(20), ended.set())
        )
        async with cluster() as (scheduler, _, client):
            client.submit(at_work, "cancelling", 0, key="cancelled")
            await asyncio.to_thread(began.wait, 20)
            executor = plugin.DaskExecutor(scheduler_address=scheduler.address)
            with mock.patch.dict(plugin._address_client_map, {scheduler.address: client}):
                await executor.cancel({}, "cancelled")
            while scheduler.tasks:
                await asyncio.sleep(0.01)
            self.assertTrue(all(not one.processing for one in scheduler.workers.values()))
            go_on.set()
            self.assertTrue(await asyncio.to_thread(ended.wait, 20))


class Carrying(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        resources = {"functions": {}, "hooks": {}, "inputs": {1: f"file://{self.folder}/in"}}
        outputs = [tuple(str(self.folder / part) for part in ("result", "stdout", "stderr"))]
        self.job = carry.Job([], resources, outputs, str(self.folder), METADATA, "")

    def task(self, scheme):
        worker = types.SimpleNamespace(address=f"{scheme}://127.0.0.1:1")
        spec = Task("key", carry.run, self.job)
        return types.SimpleNamespace(key="key", processing_on=worker, run_spec=spec)

    def test_a_worker_of_this_machine_opens_the_files_itself(self):
        task = self.task("unix")
        self.assertIs(carry.for_worker(task), task.run_spec)

    def test_another_is_given_them(self):
        (self.folder / "in").write_bytes(b"content")
        spec = carry.for_worker(self.task("tls"))
        self.assertIs(spec.func, carry.run_apart)
        self.assertEqual(spec.args[1].pieces, [b"content"])

    def test_a_large_file_is_not_read_into_memory_before_it_is_sent(self):
        content = bytes(parcel.MAPPED) + b"end"
        (self.folder / "in").write_bytes(content)
        (sent,) = carry.for_worker(self.task("tls")).args[1].pieces
        self.assertIsInstance(sent, mmap.mmap)
        (self.folder / "in").unlink()
        self.assertEqual(pickle.loads(pickle.dumps(Parcel([sent]), 5)).pieces, [content])

    def test_files_that_are_gone_fail_the_task_and_nothing_else(self):
        spec = carry.for_worker(self.task("tls"))
        with self.assertRaisesRegex(OSError, "the task's files: .*No such file"):
            spec.func(*spec.args)

    def test_an_answer_decides_what_is_in_the_files_and_not_which(self):
        about = b"[[false, [1, 1, 1]]]"
        carry.unpack(self.job, Parcel([about, b"value", b"out", b"err"]))
        self.assertEqual((self.folder / "result").read_bytes(), b"value")
        self.assertEqual(
            sorted(path.name for path in self.folder.iterdir()),
            ["result", "result-d:0.json", "stderr", "stdout"],
        )
        for wrong in ("text", {"/etc/x": b""}, None):
            with self.assertRaises(ValueError):
                carry.unpack(self.job, wrong)


class Answers(unittest.IsolatedAsyncioTestCase):
    """What the scheduler answers to who asks for what a task made on another machine."""

    setUp = Carrying.setUp

    async def answer(self, value, spec=None):
        spec = Task("key", carry.run, self.job) if spec is None else spec
        asked = []

        class Asked:
            tasks = {"key": types.SimpleNamespace(run_spec=spec)}

            async def gather(self, keys, serializers=None):
                asked.append(serializers)
                return {"status": "OK", "data": {"key": value}}

        carry.keep_answers(Asked)
        answer = await Asked().gather(keys=["key"])
        return answer["data"]["key"], *asked

    def packed(self, *pieces):
        return Serialized(*serialize(Parcel(list(pieces)), serializers=[parcel.FAMILY]))

    def test_covalent_still_has_the_server_await_what_a_task_made(self):
        self.assertIn("await fut", inspect.getsource(plugin.DaskExecutor.poll))

    async def test_is_in_the_files_and_on_its_way_to_nobody(self):
        packed = self.packed(b"[[false, [1, 1, null]]]", b"value", b"out")
        answer, asked = await self.answer(packed)
        self.assertIsNone(answer.data)
        self.assertEqual(asked[0], parcel.FAMILY)
        self.assertEqual((self.folder / "result").read_bytes(), b"value")

    async def test_that_cannot_be_written_fails_the_task_with_the_reason(self):
        (self.folder / "result").mkdir()
        answer, _ = await self.answer(self.packed(b"[[false, [1, 1, null]]]", b"value", b"out"))
        with self.assertRaisesRegex(Exception, "the task's results: IsADirectoryError"):
            deserialize(answer.header, answer.frames)
        answer, _ = await self.answer(self.packed(b"[[false"))
        with self.assertRaisesRegex(Exception, "the task's results: JSONDecodeError"):
            deserialize(answer.header, answer.frames)

    async def test_of_a_local_worker_and_of_any_other_task_is_passed_on(self):
        self.assertEqual(await self.answer("local"), ("local", carry.SERIALIZERS))
        packed = self.packed(b"[]")
        self.assertEqual(await self.answer(packed, Task("key", abs, 1)), (packed, None))


class Certificates(unittest.TestCase):
    def test_are_read_again_once_they_are_others(self):
        with tempfile.TemporaryDirectory() as folder:
            authority = Authority(Path(folder) / "authority")
            published = Path(folder) / "published"
            authority.issue("server", published, role="server")
            identity = Identity.of(published, "server")
            first = identity.context(ssl.PROTOCOL_TLS_SERVER)
            self.assertIs(identity.context(ssl.PROTOCOL_TLS_SERVER), first)
            self.assertIsNot(identity.context(ssl.PROTOCOL_TLS_CLIENT), first)
            authority.issue("server", published, role="server")
            self.assertIsNot(identity.context(ssl.PROTOCOL_TLS_SERVER), first)
            (published / "server.key").unlink()
            with self.assertRaises(FileNotFoundError):
                identity.context(ssl.PROTOCOL_TLS_SERVER)


class Memory(unittest.TestCase):
    """Into which a large message is read."""

    def test_dask_still_fills_it_with_zeros(self):
        self.assertIn("return memoryview(bytearray(n))", inspect.getsource(utils))

    def test_comes_from_the_kernel_if_it_is_large(self):
        for size, kind in ((0, bytearray), (5, bytearray), (tls.LARGE, mmap.mmap)):
            memory = tls.fresh_memory(size)
            self.assertIsInstance(memory.obj, kind)
            self.assertEqual(bytes(memory), bytes(size))
            memory[:] = b"x" * size
            self.assertFalse(memory.readonly)


class Conversations(unittest.TestCase):
    """What a worker may say to the scheduler, and in whose name."""

    OWN, OTHERS = "tls://192.0.2.11:48010", "tls://192.0.2.12:48010"

    def setUp(self):
        self.conversation = plain.Conversation("w1", {self.OTHERS: "w2"})
        self.conversation.check({"python": (3, 11, 2)})

    def test_no_command_is_a_workers_to_give(self):
        for operation in Commands.given():
            with self.subTest(operation), self.assertRaisesRegex(plain.Refused, operation):
                self.conversation.check({"op": operation})

    def test_nobody_speaks_for_another(self):
        for address in (self.OTHERS, "unix://127.0.0.1:7", None):
            message = {"op": "heartbeat_worker", "address": address or self.OWN}
            if address:
                with self.subTest(address), self.assertRaises(plain.Refused):
                    self.conversation.check(message)
            else:
                self.conversation.check(message)

    def test_news_are_of_the_workers_own_tasks(self):
        self.conversation.check({"op": "register-worker", "address": self.OWN, "nanny": None})
        for wrong in (
            {"op": "update-graph"},
            {"op": "cancel-keys", "keys": ["x"]},
            {"op": "end-task", "key": "x"},
            {"op": "task-finished", "key": "x", "worker": self.OTHERS, "type": b""},
            "text",
        ):
            with self.subTest(wrong), self.assertRaises(plain.Refused):
                self.conversation.check((wrong,))

    def test_what_clients_would_unpickle_is_not_passed_on(self):
        self.conversation.check({"op": "register-worker", "address": self.OWN, "nanny": None})
        finished = {"op": "task-finished", "key": "x", "type": b"a pickle"}
        erred = {"op": "task-erred", "exception": b"one", "traceback": b"two"}
        erred["exception_text"] = "OSError('it is full')"
        self.conversation.check((finished, erred))
        self.assertIsNone(finished["type"])
        self.assertIsNone(erred["traceback"])
        self.assertEqual(str(pickle.loads(erred["exception"])), "OSError('it is full')")


class Commands:
    """Whatever Dask's scheduler can be asked, but what a worker asks it."""

    @staticmethod
    def given():
        names = re.findall(
            r'^            "([a-z_-]+)": self', inspect.getsource(Scheduler.__init__), re.M
        )
        assert "run_function" in names and "update-graph" in names
        return set(names) - plain.OPERATIONS - plain.NEWS


class Processes(unittest.TestCase):
    WORDS = "Worker process still alive after 0.8 seconds, killing"

    def test_dask_still_says_that_it_ends_one(self):
        source = inspect.getsource(nanny.WorkerProcess.kill)
        self.assertIn(
            "Worker process still alive after {wait_timeout:.1f} seconds, killing", source
        )

    def test_adjusted(self):
        self.addCleanup(setattr, nanny.logger, "filters", list(nanny.logger.filters))
        with self.assertLogs(nanny.logger, logging.WARNING) as said:
            nanny.logger.warning(self.WORDS)
            adjustments.processes_end_quietly()
            nanny.logger.warning(self.WORDS)
            nanny.logger.warning("Restarting worker")
        self.assertEqual(
            [one.getMessage() for one in said.records], [self.WORDS, "Restarting worker"]
        )


class Plugins(unittest.TestCase):
    def test_covalent_still_gives_its_scheduler_no_plugin(self):
        source = inspect.getsource(app_dask.DaskCluster.run)
        self.assertNotIn("scheduler_kwargs", source)

    def test_adjusted(self):
        options = {}
        app = types.SimpleNamespace(LocalCluster=lambda **given: options.update(given))
        adjustments.scheduler_plugin(app, "fleet")
        app.LocalCluster()
        self.assertEqual(options, {"scheduler_kwargs": {"plugins": ["fleet"]}})


if __name__ == "__main__":
    unittest.main()
