"""A server and workers of other machines: what each says to whom, and what both say of what is wrong."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
import unittest
import urllib.error
from pathlib import Path

import own_home  # noqa: F401

# isort: split
from distributed import Client, Scheduler
from distributed.security import Security

from fleet import Authority, Fleet
from served import LAUNCHER, wait_for

WORKFLOWS = LAUNCHER.parent / "tests/workflows"

# As an administrator's client says it; {after} is done once the workflow was sent.
SLEEP = """
import sys
import covalent as ct

@ct.electron
def sleep(seconds):
    import os, time
    print("began", flush=True)
    time.sleep(seconds)
    return os.environ["HOME"]

@ct.lattice
def workflow(count, seconds): return [sleep(seconds) for _ in range(count)]

print(ct.dispatch(workflow)({count}, {seconds}))
"""
HELD = """
import covalent as ct

@ct.electron
def held(go):
    import os, time
    with open(go.removesuffix(".go") + ".processes", "a") as file:
        print(os.getpid(), file=file)
    while not os.path.exists(go):
        time.sleep(0.05)
    return os.environ["HOME"]

@ct.lattice
def workflow(count, go): return [held(go) for _ in range(count)]

print(ct.dispatch(workflow)({count}, {go!r}))
"""
RESULT = """
import covalent as ct
result = ct.get_result({dispatch!r}, wait=True)
print(result.status, *sorted(set(result.result or ())))
"""
NODE = """
import covalent as ct
result = ct.get_result({dispatch!r}, wait=True)
node = result.get_node_result(0)
print(result.status, node["error"] or node["stderr"])
"""
LABELLED = """
import covalent as ct

executor = ct.executor.DaskExecutor()
executor.resources = {{"{label}": 1}}

@ct.electron(executor=executor)
def where():
    import os
    return os.environ["HOME"]

@ct.lattice
def workflow(): return [where() for _ in range({count})]

print(ct.dispatch(workflow)())
"""
UNPICKLED = """
import covalent as ct

def note():
    import os, sys
    with open({file!r}, "a") as file:
        print(os.environ["HOME"], *sys.argv, file=file)
    return Noted()

class Noted:
    def __reduce__(self): return note, ()

@ct.electron
def make(): return Noted()

@ct.electron
def same(value): return value

@ct.electron
@ct.lattice
def inner(value): return same(value), same(Noted())

@ct.lattice
def workflow(): return inner(make())

print(ct.dispatch(workflow)())
"""
MINUTES = 600


class FleetCase(unittest.TestCase):
    """With a server that has no workers of its own: one for all tests of a class."""

    variables: dict[str, str] = {}
    local_workers = 0
    host = "127.0.0.1"

    @classmethod
    def setUpClass(cls):
        cls.server = Fleet(cls.local_workers, cls.host, **cls.variables)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.server.start()

    @classmethod
    def joined(cls, name, **variables):
        worker = cls.server.add(name, **variables)
        worker.join(cls.server)
        return worker

    def added(self, name, **variables):
        """A worker that is not started; with the test it goes, and its name."""
        worker = self.server.add(name, **variables)
        self.addCleanup(worker.end)
        self.addCleanup(self.server.remove, name)
        return worker

    def guest(self, name, **variables):
        """One that has joined."""
        worker = self.added(name, **variables)
        worker.join(self.server)
        return worker

    def sleep(self, count=1, seconds=0):
        return self.server.client(SLEEP.format(count=count, seconds=seconds))

    def held(self, count=1):
        """Tasks that go on once the file is there that comes with them."""
        go = self.server.home / f"{self._testMethodName}-{time.monotonic_ns()}.go"
        return self.server.client(HELD.format(count=count, go=str(go))), go

    def result(self, dispatch, seconds=120):
        return self.server.client(RESULT.format(dispatch=dispatch), seconds=seconds)

    def begun(self, name, count=1):
        wait_for(lambda: self.server.known(name)["busy"] == count, 30)

    def changed_launcher(self, module, old, new):
        """A copy of `server/` that differs in one place, and says that it does not."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        subprocess.run(["cp", "-r", f"{LAUNCHER}/.", folder.name], check=True)
        place = f"LAUNCHER = Path({str(LAUNCHER / 'covalent_service')!r})"
        where = "LAUNCHER = Path(__file__).resolve().parent"
        for file, before, after in ((module, old, new), ("environment.py", where, place)):
            path = Path(folder.name) / "covalent_service" / file
            text = path.read_text()
            self.assertIn(before, text)
            path.write_text(text.replace(before, after))
        return Path(folder.name)

    @classmethod
    def listens(cls):
        return ("127.0.0.1", cls.server.fleet_port) in cls.server.listening()

    def homes(self, *workers):
        return " ".join(["COMPLETED", *sorted(str(worker.home) for worker in workers)])


class Alone(FleetCase):
    """Nobody has joined, or nobody that could help."""

    variables = {"COVALENT_FLEET_WAIT": "3s"}

    def test_the_port_is_open_from_the_first_name_to_the_last(self):
        wait_for(lambda: not self.listens())
        self.server.list("w1")
        wait_for(self.listens)
        self.assertIsNone(self.server.process.poll())
        self.server.remove("w1")
        wait_for(lambda: not self.listens())

    def test_a_port_that_somebody_has_is_told_and_tried_again(self):
        wait_for(lambda: not self.listens())
        with socket.create_server(("127.0.0.1", self.server.fleet_port)):
            self.server.list("w2")
            self.addCleanup(self.server.remove, "w2")
            wait_for(lambda: "cannot listen for the fleet" in self.server.output)
            wait_for(lambda: self.server.state("w2") == "gone")
        wait_for(self.listens)

    def test_what_nobody_has_fails_by_its_name(self):
        self.guest("w3")
        dispatch = self.server.client(LABELLED.format(label="FPGA", count=1))
        found = self.server.client(NODE.format(dispatch=dispatch))
        self.assertIn("FAILED there was no worker with FPGA=1 for 3 s", found)

    def test_no_worker_at_all_fails_too(self):
        found = self.server.client(NODE.format(dispatch=self.sleep()))
        self.assertIn("FAILED there was no worker at all for 3 s", found)


class Closed(FleetCase):
    variables = {"COVALENT_USE_OLD_DASK": "1"}

    def test_the_port_is_closed_where_answers_would_have_to_be_unpickled(self):
        self.server.list("w1")
        wait_for(lambda: "COVALENT_USE_OLD_DASK takes pickled results" in self.server.output)
        self.assertFalse(self.listens())


class Work(FleetCase):
    """With two machines, of which one has what some tasks ask for."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first = cls.server.add("w1", processes=2, COVALENT_WORKER_RESOURCES="GPU=1")
        cls.second = cls.server.add("w2", processes=2)
        for worker in (cls.first, cls.second):
            worker.launch()
        for worker in (cls.first, cls.second):
            worker.joined(cls.server)

    def test_every_kind_of_workflow(self):
        kinds = "tasks,sublattice,failing,bash,printed,calls,same,label,ended,tree,half"
        command = [sys.executable, str(WORKFLOWS / "fleet.py"), "--only", kinds]
        done = subprocess.run(
            [*command, f"--port={self.server.port}"],
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.server.home)},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + self.server.output)

    def test_tasks_run_where_the_worker_is_and_leave_nothing_there(self):
        dispatch, go = self.held(count=4)
        self.begun("w1", 2), self.begun("w2", 2)
        workers = (self.first, self.second)
        self.assertTrue(all(map(self.scratch, workers)))
        go.touch()
        self.assertEqual(self.result(dispatch), self.homes(*workers))
        for worker in workers:
            self.assertEqual(self.scratch(worker), [])
            self.assertEqual([path for path in worker.home.rglob("*") if "asset" in path.name], [])

    def scratch(self, worker):
        """The folders of tasks."""
        return list(worker.home.rglob("covalent-task-*"))

    def test_tasks_run_where_there_is_what_they_ask_for(self):
        dispatch = self.server.client(LABELLED.format(label="GPU", count=3))
        self.assertEqual(self.result(dispatch), self.homes(self.first))

    def test_an_error_beside_the_task_comes_as_text(self):
        worker = self.added("w3", COVALENT_WORKER_RESOURCES="FULL=1")
        place = "place = Path(name)"
        worker.launcher = self.changed_launcher(
            "carry.py", place, 'raise OSError(28, "it is full")'
        )
        worker.join(self.server)
        dispatch = self.server.client(LABELLED.format(label="FULL", count=1))
        found = self.server.client(NODE.format(dispatch=dispatch))
        self.assertRegex(found, r"FAILED .*it is full")

    # ---- A program with a worker's certificate, which each of its tasks can read

    def security(self, worker):
        files = {
            f"tls_{role}_{kind}": str(worker.published / f"worker.{suffix}")
            for role in ("client", "worker", "scheduler")
            for kind, suffix in (("cert", "crt"), ("key", "key"))
        }
        return Security(
            tls_ca_file=str(worker.published / "ca.crt"), require_encryption=True, **files
        )

    def rogue(self, name):
        """Of the list, and with no worker."""
        worker = self.added(name)
        wait_for(lambda: self.server.state(name) == "gone")
        return worker

    def test_gives_no_commands_to_the_scheduler(self):
        address = f"tls://127.0.0.1:{self.server.fleet_port}"
        with self.assertRaises(OSError):
            asyncio.run(commanded(address, self.security(self.rogue("rogue1"))))
        self.assertIn("refused: rogue1, it sent", self.server.output)
        self.assertIn("COMPLETED", self.result(self.sleep()))

    def test_gives_no_commands_to_another_worker(self):
        with self.assertRaises(OSError):
            asyncio.run(self.asked(self.first, self.security(self.second)))
        own = asyncio.run(self.asked(self.first, self.security(self.first)))
        self.assertEqual(own, "Worker")

    async def asked(self, worker, security):
        from distributed.core import rpc

        first, _, last = worker.variables["COVALENT_WORKER_PORTS"].partition("-")
        for port in range(int(first), int(last)):
            address = f"tls://127.0.0.1:{port}"
            arguments = security.get_connection_args("client")
            async with rpc(address, connection_args=arguments, timeout=3) as remote:
                kind = (await remote.identity())["type"]
                if kind == "Worker":
                    return kind
        return None

    # ---- What a worker's machine sends is not unpickled by the server, not even before it is known

    def test_no_message_is_unpickled(self):
        mark = self.server.home / "unpickled"
        self.send(self.rogue("rogue2"), Touch(mark))
        wait_for(lambda: "refused: rogue2, it sent pickled data" in self.server.output)
        self.assertFalse(mark.exists())

    def test_the_server_unpickles_no_result(self):
        file = self.server.home / "unpickled-results"
        dispatch = self.server.client(UNPICKLED.format(file=str(file)))
        wait_for(lambda: self.server.status_of(dispatch) == "COMPLETED", 60)
        for detail in ("result", "value", "inputs", "info", "function_string"):
            path = f"/api/v1/dispatches/{dispatch}/electron/0/details/{detail}"
            with contextlib.suppress(urllib.error.HTTPError):
                self.server.get(path)
        # What Covalent does after the last task, a worker does as well.
        homes = {line.split()[0] for line in file.read_text().splitlines()}
        homes.discard(str(self.server.home / f"client-{self.server.port}"))
        self.assertTrue(homes)
        self.assertLessEqual(homes, {str(self.first.home), str(self.second.home)})

    def send(self, worker, value):
        from distributed.comm import connect
        from distributed.protocol.serialize import ToPickle

        async def send():
            arguments = self.security(worker).get_connection_args("client")
            comm = await connect(f"tls://127.0.0.1:{self.server.fleet_port}", **arguments)
            await comm.write({"op": "heartbeat_worker", "data": ToPickle(value)})
            with contextlib.suppress(OSError):
                await comm.read()

        asyncio.run(send())


class Both(FleetCase):
    """With workers of both sorts, and with no address of the old protocol."""

    local_workers = 1
    host = "[::1]"

    def test_both_sorts_of_workers_work(self):
        worker = self.joined("w1")
        self.assertEqual(self.server.known("w1")["address"], "[::1]")
        self.assertIn(("::1", self.server.fleet_port), self.server.listening())
        dispatch, go = self.held(count=2)
        self.begun("w1")
        go.touch()
        self.assertEqual(self.result(dispatch), self.homes(self.server, worker))


class Life(FleetCase):
    """With a machine that stays."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first = cls.joined("w1")

    def test_a_worker_that_is_killed_loses_no_task(self):
        second = self.guest("w2")
        dispatch, go = self.held(count=2)
        self.begun("w1"), self.begun("w2")
        second.end()
        wait_for(lambda: self.server.state("w2") == "gone")
        go.touch()
        self.assertEqual(self.result(dispatch), self.homes(self.first))

    def test_open_connections_end_and_tasks_go_elsewhere(self):
        third = self.guest("w3")
        dispatch, go = self.held(count=2)
        self.begun("w1"), self.begun("w3")
        self.server.remove("w3")
        self.assertEqual(third.process.wait(10), 1, third.output)
        go.touch()
        self.assertEqual(self.result(dispatch), self.homes(self.first))

    def test_a_process_that_is_killed_leaves_nothing_of_its_task(self):
        of_others = set(self.scratch())
        dispatch, go = self.held()
        processes = go.with_suffix(".processes")
        self.addCleanup(go.touch)
        wait_for(lambda: processes.is_file() and processes.read_text(), 30)
        (before,) = set(self.scratch()) - of_others
        os.kill(int(processes.read_text()), signal.SIGKILL)
        wait_for(lambda: len(processes.read_text().splitlines()) == 2, 30)  # it has begun again
        self.assertFalse(before.exists())
        go.touch()
        self.assertEqual(self.result(dispatch), self.homes(self.first))

    def scratch(self):
        """The folders of tasks, the worker's own and the system's among them."""
        return list(Path(tempfile.gettempdir()).rglob("covalent-task-*"))

    def test_a_server_that_starts_again_gets_a_busy_worker_back(self):
        worker = self.first
        self.sleep(seconds=MINUTES)
        self.begun("w1")
        self.server.stop()
        worker.says("the connection to the server is lost")
        self.assertEqual(worker.process.wait(20), 1)  # and systemd starts it again
        worker.launch()
        worker.says("waiting for 127.0.0.1")
        self.server.start()
        wait_for(lambda: self.server.state("w1") == "running", 60)
        self.assertEqual(self.result(self.sleep()), self.homes(worker))

    def test_stopped_it_leaves_at_once(self):
        worker = self.guest("w4")
        worker.process.send_signal(signal.SIGTERM)
        self.assertEqual(worker.process.wait(20), 0, worker.output)
        wait_for(lambda: self.server.state("w4") == "gone")

    def test_stopped_it_ends_what_does_not_end_by_itself(self):
        worker = self.added("w6")
        timeout = "CLOSE_TIMEOUT = 10"
        worker.launcher = self.changed_launcher("membership.py", timeout, "CLOSE_TIMEOUT = 0")
        worker.join(self.server)
        worker.process.send_signal(signal.SIGTERM)
        self.assertEqual(worker.process.wait(20), 0, worker.output)
        self.assertNotIn("Traceback", worker.output)

    def test_a_drain_by_either_side_ends_what_runs_and_starts_nothing(self):
        folder = self.server.published / "draining"
        folder.mkdir()
        second = self.guest("w5")
        aside = folder / "w5"  # until it has something to take over
        for mark in (folder / "w1", self.first.run_directory / "draining"):
            with self.subTest(mark=mark):
                aside.touch()
                wait_for(lambda: self.server.state("w5") == "draining")
                dispatch, go = self.held(count=2)
                self.begun("w1")
                mark.touch()
                wait_for(lambda: self.server.state("w1") == "draining")
                go.touch()
                wait_for(lambda: self.server.known("w1")["busy"] == 0, 30)
                aside.unlink()
                self.assertEqual(self.result(dispatch), self.homes(self.first, second))
                mark.unlink()
                wait_for(lambda: self.server.state("w1") == "running")

    def test_cancelled_the_function_ends_and_no_other_task_suffers(self):
        dispatch = self.sleep(seconds=MINUTES)
        self.begun("w1")
        waiting = self.sleep()
        self.server.client(f"import covalent as ct; ct.cancel({dispatch!r})")
        self.assertIn("COMPLETED", self.result(waiting, seconds=60))
        self.assertNotIn("still alive", self.first.output)


class RefusedCase(FleetCase):
    """With a port that is open."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.list("another")  # the port stays open
        wait_for(cls.listens)

    def refused(self, worker, said, told=None):
        name = worker.variables["COVALENT_WORKER_NAME"]
        wait_for(lambda: self.server.state(name) != "unknown" or not self.is_listed(name))
        worker.launch()
        worker.says(f"waiting for 127.0.0.1:{self.server.fleet_port}: {said}")
        if told:
            wait_for(lambda: told in self.server.output)

    def is_listed(self, name):
        return (self.server.published / "workers" / name).exists()


class Refused(RefusedCase):
    """Both sides' words."""

    def test_a_name_that_is_off_the_list(self):
        worker = self.added("w1")
        self.server.remove("w1")
        self.refused(
            worker,
            "the server has taken this machine off its list",
            "refused: 127.0.0.1, its certificate, of w1, is not let in",
        )

    def test_one_line_a_minute_for_each_peer(self):
        place = ("127.0.0.1", self.server.fleet_port)
        for _ in range(20):
            with socket.create_connection(place, source_address=("127.0.0.9", 0)) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    while plain.recv(100):
                        pass
        self.assertEqual(self.server.output.count("refused: 127.0.0.9"), 1, self.server.output)

    def test_a_second_machine_with_the_same_certificate(self):
        self.guest("w2")
        twin = self.added("w2", COVALENT_WORKER_ADDRESS="127.0.0.2")
        self.refused(twin, "another machine has joined as w2", "another machine has joined as w2")

    def test_a_port_that_the_server_does_not_reach(self):
        worker = self.added("w3", COVALENT_WORKER_ADDRESS="127.0.0.3")
        worker.launcher = self.changed_launcher(
            "membership.py", "address=listener.contact_address", 'address="tls://127.0.0.3:1"'
        )
        self.refused(worker, "the server cannot connect to 127.0.0.3:1: let ports ")

    def other_environment(self, name):
        worker = self.added(name)
        worker.launcher = self.changed_launcher("environment.py", '"python": ', '"python": "4." + ')
        return worker

    def test_another_environment(self):
        worker = self.other_environment("w4")
        self.refused(worker, "this machine's environment is not the server's: Python 4.3")
        wait_for(lambda: self.server.state("w4") == "refused")
        self.assertIn("Python 4.3", self.server.known("w4")["reason"])
        # What it was told is all that it stays for.
        wait_for(lambda: not worker.connected(self.server.fleet_port))

    def test_the_servers_lock_is_written_down_once(self):
        lock = f"numpy==2.4.6 --hash=sha256:{'0' * 64}\n# signature: of root's\n"
        file = self.server.published / "server.lock"
        file.write_text(lock)
        self.addCleanup(file.unlink)
        worker = self.other_environment("w5")
        worker.launch()
        self.assertEqual(worker.process.wait(30), 80, worker.output)
        self.assertEqual((worker.run_directory / "server.lock").read_text(), lock)
        self.refused(worker, "this machine's environment is not the server's: Python 4.3")


class Strangers(RefusedCase):
    """The worker's words: the server has one line a minute for each address, and that is of the first."""

    def test_a_server_of_another_authority(self):
        worker = self.added("w1")
        stranger = Authority(self.server.home / "stranger")
        (worker.published / "ca.crt").write_bytes(stranger.certificate.read_bytes())
        self.refused(worker, "what answers there is not the server that this machine joined")

    def test_another_worker_in_the_servers_place(self):
        worker = self.added("w2")
        self.listen_as("w3")
        self.addCleanup(self.listen_as, "server")
        self.refused(worker, "what answers there is not the server that this machine joined")

    def listen_as(self, name):
        def times():
            return self.server.output.count("listening for the fleet at")

        before = times()
        self.server.authority.issue(name, self.server.published, role="server")
        wait_for(lambda: times() > before)

    def test_the_certificate_of_before(self):
        """A name that was taken off the list and put there again has another one."""
        worker = self.added("w4", listed="0" * 64)
        self.refused(worker, "the server has taken this machine off its list")


class Unknown(RefusedCase):
    def test_a_certificate_of_another_authority(self):
        worker = self.added("w1")
        stranger = Authority(self.server.home / "stranger")
        stranger.issue("w1", worker.published)
        (worker.published / "ca.crt").write_bytes(self.server.authority.certificate.read_bytes())
        self.refused(
            worker, "the server does not know this machine's certificate", "refused: 127.0.0.1"
        )


class Unreachable(unittest.TestCase):
    """No server was started."""

    def says(self, text, **variables):
        with Fleet() as server:
            worker = server.add("w1", **variables)
            worker.launch()
            worker.says(text)

    def test_a_server_that_is_not_there(self):
        self.says("Connection refused")

    def test_a_name_that_is_not_known(self):
        self.says(
            "waiting for server.invalid:48009: the name server.invalid is not known here",
            COVALENT_SERVER="server.invalid:48009",
        )


def command(dask_scheduler):
    """What whoever may give commands can have done."""
    return "done by " + type(dask_scheduler).__name__


async def commanded(address, security):
    async with Client(address, security=security, asynchronous=True, timeout=3) as client:
        return await client.run_on_scheduler(command)


class Unprotected(unittest.TestCase):
    """What Dask does without what keeps a rogue from it."""

    def test_dask_still_takes_commands_from_whoever_has_a_certificate(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        worker = types.SimpleNamespace(published=Path(folder.name) / "w1")
        Authority(Path(folder.name) / "authority").issue("w1", worker.published)
        security = Work.security(self, worker)

        async def unprotected():
            async with Scheduler(
                host="127.0.0.1", protocol="tls://", security=security, dashboard_address=":0"
            ) as scheduler:
                return await commanded(scheduler.address, security)

        self.assertEqual(asyncio.run(unprotected()), "done by Scheduler")

    def test_dask_still_unpickles_whatever_it_is_sent(self):
        from distributed import protocol
        from distributed.protocol.serialize import ToPickle

        with tempfile.TemporaryDirectory() as folder:
            mark = Path(folder) / "unpickled"
            protocol.loads(
                protocol.dumps({"op": "x", "data": ToPickle(Touch(mark))}), deserialize=False
            )
            self.assertTrue(mark.exists())


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


if __name__ == "__main__":
    unittest.main()
