"""The launcher with the real Covalent: start, serve, stop, and what may go wrong."""

import json
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
from pathlib import Path

import psutil

from served import LAUNCHER, STOP_LIMIT, Served, free_port, wait_for

sys.path.append(str(LAUNCHER))

from covalent_service import migration  # noqa: E402
from covalent_service.readiness import QUESTION  # noqa: E402

LONG_CHAIN = """
import covalent as ct

@ct.electron(executor={executor!r})
def first(): return "first"

@ct.electron(executor={executor!r})
def second(text):
    import time
    time.sleep(60)
    return text

@ct.lattice(workflow_executor={executor!r})
def workflow(): return second(first())

print(ct.dispatch(workflow)())
"""

NESTED = """
import covalent as ct

@ct.electron
def wait():
    import time
    time.sleep(4)
    return 1

@ct.electron
def more(number): return number + 1

@ct.electron
@ct.lattice
def inner(number): return more(number)

@ct.lattice
def workflow(): return inner(wait())

print(ct.dispatch(workflow)())
"""

TERMINAL = """
import os, socketio
client = socketio.SimpleClient()
client.connect("http://127.0.0.1:{port}")
client.emit("start_terminal")
client.emit("pty-input", {{"input": "echo $((6*7))\\n"}})
text = ""
try:
    while "42" not in text:
        text += client.receive(timeout={seconds})[1]["output"]
    print("42", flush=True)
except socketio.exceptions.TimeoutError:
    print("silence", flush=True)
os._exit(0)
"""

RESULT = """
import covalent as ct
from covalent._dispatcher_plugins.local import LocalDispatcher

@ct.electron
def more(number): return number + 1

@ct.lattice
def workflow(number): return more(number)

print({what})
"""

VARIABLES = """
import covalent as ct

@ct.electron(executor={executor!r})
def variables():
    import os
    return dict(os.environ)

@ct.lattice(workflow_executor={executor!r})
def workflow(): return variables()

print(ct.get_result(ct.dispatch(workflow)(), wait=True).result)
"""

# A database that never answers, and who waits for it.
GIVE_UP = """
import pathlib, sys
sys.path.append(sys.argv[1])
from threading import Event, Thread
from types import SimpleNamespace
from covalent_service import notify, service, workflows

service.FINISH_TIMEOUT = 0.2
asked = Event()
def silent(_store):
    asked.set()
    Event().wait()
workflows.unfinished = silent
stopping = service._Service(SimpleNamespace(home=pathlib.Path()), None, None, notify.Notifier())
stopping._exit_code = 7
Thread(target=stopping._finish, daemon=True).start()
asked.wait()
stopping._give_up()
"""

DOWNGRADE = """
from covalent_dispatcher._db.datastore import workflow_db as store
from alembic import command
command.downgrade(store.get_alembic_config(False), "7b40a55c0752")
"""


def downgrade(server):
    """Bring the database to the schema of Covalent 0.238."""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DOWNGRADE],
        env=server.variables,
        check=True,
        timeout=60,
    )


def terminal(server, is_on):
    """What it answers: one that is on may take its time, one that is off takes all of it."""
    return server.client(TERMINAL.format(port=server.port, seconds=30 if is_on else 3))


def workers(server):
    """How many Dask has: two sockets each, and one for its scheduler."""
    folder = server.home / ".cache/covalent/dask"
    return (sum(file.is_socket() for file in folder.iterdir()) - 1) // 2


def gone(processes):
    return not psutil.wait_procs(processes, timeout=5)[1]


class Running(unittest.TestCase):
    def test_pages_answer_although_the_working_directory_is_the_tasks_own(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            self.assertIn("<html", server.get("/"))
            self.assertIn("<html", server.get("/settings"))
            self.assertIn("items", server.get("/api/v1/logs/?count=10"))
            self.assertEqual(list(server.run_directory.iterdir()), [])

    def test_nothing_but_the_port_is_open_beyond_loopback(self):
        with Served(COVALENT_SERVER_IFACE_ANY="1", COVALENT_DISPATCHER_ADDR="localhost") as server:
            server.start()
            self.assertEqual(server.listening(), {("::", server.port)})

    def test_a_dashboard_is_there_on_request_on_the_terms_of_the_server(self):
        port = free_port()
        with Served() as server:
            server.start()
            self.assertEqual(server.listening(), {("127.0.0.1", server.port)})
            server.stop()
            server.start(COVALENT_DASK_DASHBOARD=f"127.0.0.1:{port}")
            both = {("127.0.0.1", server.port), ("127.0.0.1", port)}
            self.assertEqual(server.listening(), both)
            for page in ("/json/identity.json", "/info/main/workers.html", "/sitemap.json"):
                with server.answer(page, port=port) as answer:
                    self.assertEqual(answer.status, 200)
                for strange in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
                    with self.assertRaises(urllib.error.HTTPError) as refused:
                        server.answer(page, port=port, **strange)
                    self.assertEqual(refused.exception.code, 403)
                    self.assertIn(b"evil.example", refused.exception.read())
                    refused.exception.close()

    def test_a_dashboard_takes_another_loopback_port_if_its_own_is_taken(self):
        with socket.socket() as taken, Served() as server:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            server.start(COVALENT_DASK_DASHBOARD=f"127.0.0.1:{taken.getsockname()[1]}")
            self.assertEqual({host for host, _ in server.listening()}, {"127.0.0.1"})
            self.assertEqual(len(server.listening()), 2)

    def test_dask_talks_to_nobody_by_a_port(self):
        with Served() as server:
            server.start()
            ports = [port for _, port in server.listening()]
            self.assertEqual(ports, [server.port])
            # What answers Dask's greeting runs what it is sent next.
            intrude = Path(__file__).parents[1] / "workflows/intrude.py"
            told = subprocess.check_output(
                [sys.executable, intrude, *map(str, ports)], text=True, timeout=60
            )
            self.assertEqual(told, "[]\n")
            folder = server.home / ".cache/covalent/dask"
            self.assertGreaterEqual(workers(server), 1)
            self.assertEqual(stat.S_IMODE(folder.stat().st_mode), 0o700)

    def test_notifies_systemd(self):
        with (
            Served(COVALENT_DISABLE_DASK="1") as server,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        ):
            address = str(server.home / "notify")
            systemd.bind(address)
            # A server that takes as long to answer on a busy machine sends no ping.
            server.start(NOTIFY_SOCKET=address, WATCHDOG_USEC="20000000")
            systemd.settimeout(30)
            kinds = []

            def read_until(kind):
                while kinds[-1:] != [kind]:
                    kinds.append(systemd.recv(4096).decode().split("=")[0])

            read_until("WATCHDOG")
            server.stop()
            read_until("STOPPING")
            self.assertLess(kinds.index("STATUS"), kinds.index("READY"))
            self.assertLess(kinds.index("READY"), kinds.index("WATCHDOG"))
            self.assertLess(kinds.index("WATCHDOG"), kinds.index("STOPPING"))

    def test_what_it_is_asked_is_answered_from_the_database(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            self.assertIn("dispatches", server.get(QUESTION))
            server.query("ALTER TABLE lattices RENAME TO gone")
            with self.assertRaises(urllib.error.HTTPError):
                server.get(QUESTION)

    def test_environment_counts_at_every_start(self):
        with Served(COVALENT_DISABLE_DASK="1") as server, Served() as other:
            server.start()
            server.stop()
            server.port = other.port
            server.start(COVALENT_SVC_PORT=str(other.port), COVALENT_DATA_DIR=str(other.home / "d"))
            self.assertIn("items", server.get("/api/v1/dispatches/list?count=1"))
            code = LONG_CHAIN.format(executor="local").replace("sleep(60)", "sleep(0)")
            dispatch_id = server.client(code)
            wait_for(lambda: server.status_of(dispatch_id) == "COMPLETED")
            self.assertTrue((other.home / "d" / dispatch_id).is_dir())
            self.assert_files_of_a_task_are_shown(server, dispatch_id)

    def assert_files_of_a_task_are_shown(self, server, dispatch_id):
        page = f"/api/v1/dispatches/{dispatch_id}/electron/0/details"
        self.assertIn("first", server.get(f"{page}/result"))
        self.assertIn("def first", server.get(f"{page}/function_string"))

    def test_without_any_executor(self):
        with Served(COVALENT_PLUGIN_LOAD="false") as server:
            server.start()

    def test_tasks_do_not_learn_the_address_of_the_database(self):
        with Served() as server:
            address = f"sqlite+pysqlite:///{server.home}/s3cret.db"
            server.start(COVALENT_DATABASE_URL=address)
            for executor in ("dask", "local"):
                told = server.client(VARIABLES.format(executor=executor))
                self.assertIn("COVALENT_SVC_PORT", told)
                self.assertNotIn("s3cret", told)
            self.assertTrue((server.home / "s3cret.db").exists())

    def test_all_tasks_have_one_connection_to_dask(self):
        with Served() as server:
            server.start()
            server.client(VARIABLES.format(executor="dask"))
            connected = server.connected()
            self.assertTrue(connected)
            dispatch_id = server.client(LONG_CHAIN.format(executor="dask"))
            wait_for(server.runs_a_task)
            server.client(f"import covalent; covalent.cancel({dispatch_id!r})")
            wait_for(lambda: server.status_of(dispatch_id) == "CANCELLED")
            wait_for(lambda: len(server.connected()) <= len(connected))

    def test_pages_of_other_sites_get_nothing(self):
        questions = ("/api/v1/dispatches/list?count=1", "/socket.io/?EIO=4&transport=polling")
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            own = {"Origin": f"http://127.0.0.1:{server.port}"}
            for question in questions:
                # Covalent itself would answer any page: that is why it is not asked.
                with server.answer(question, **own) as answer:
                    self.assertIn(
                        answer.headers["Access-Control-Allow-Origin"], ("*", *own.values())
                    )
                for strange in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
                    with self.assertRaises(urllib.error.HTTPError) as refused:
                        server.answer(question, **strange)
                    self.assertEqual(refused.exception.code, 403)
                    refused.exception.close()

    def test_is_ready_at_a_name_of_another_address_than_localhosts(self):
        # "127.2" stands for a name: it is looked up, and 127.0.0.2 is what comes of it.
        with Served(COVALENT_DISABLE_DASK="1", COVALENT_DISPATCHER_ADDR="127.2") as server:
            server.start()
            self.assertEqual(server.listening(), {("127.0.0.2", server.port)})

    def test_clients_reach_an_ipv6_address_and_are_given_it(self):
        variables = {"COVALENT_DISPATCHER_ADDR": "::1", "COVALENT_DISABLE_DASK": "1"}
        with Served(**variables) as server:
            server.start()
            self.assertEqual(server.listening(), {("::1", server.port)})
            told = server.client(
                VARIABLES.format(executor="local"), COVALENT_DISPATCHER_ADDR="[::1]"
            )
            self.assertIn(f"'COVALENT_DISPATCHER_URL': 'http://[::1]:{server.port}'", told)

    def test_both_protocols_reach_every_address(self):
        with Served(COVALENT_SERVER_IFACE_ANY="1") as server:
            server.start(COVALENT_DISPATCHER_ADDR="localhost")
            for address in ("127.0.0.1", "[::1]"):
                # Which it keeps from the first time on.
                shutil.rmtree(server.home / f"client-{server.port}", ignore_errors=True)
                told = server.client(
                    RESULT.format(what="ct.get_result(ct.dispatch(workflow)(1), wait=True).result"),
                    COVALENT_DISPATCHER_ADDR=address,
                )
                self.assertEqual(told, "2")

    def test_workers_are_as_many_as_cores_unless_somebody_set_a_number(self):
        cores = len(os.sched_getaffinity(0))
        with Served() as server:
            file = server.home / ".config/covalent/covalent.conf"
            file.parent.mkdir(parents=True)
            # As a machine with more left it, and as somebody did.
            for left, wanted in (
                (f"num_workers = {cores + 3}\ncores = {cores + 3}\n", cores),
                (f"num_workers = {cores + 1}\ncores = {cores + 3}\n", cores + 1),
            ):
                file.write_text(f"[dask]\n{left}")
                server.start()
                self.assertEqual(workers(server), wanted)
                server.stop()
                server.start()
                self.assertEqual(workers(server), wanted)
                server.stop()

    def test_starts_where_tasks_do_and_makes_that_folder_again(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            server.stop()
            shutil.rmtree(server.home / "run")
            shutil.rmtree(server.home / ".local")
            shutil.rmtree(server.home / ".config")
            server.start()
            self.assertEqual(
                os.readlink(f"/proc/{server.process.pid}/cwd"), str(server.home / "run")
            )

    def test_terminal_is_off_unless_asked_for(self):
        for asked, answer in (("", "silence"), ("1", "42")):
            with self.subTest(asked=asked), Served(COVALENT_DISABLE_DASK="1") as server:
                server.start(COVALENT_UI_TERMINAL=asked)
                self.assertEqual(terminal(server, is_on=bool(asked)), answer)


class Stopping(unittest.TestCase):
    def test_idle(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number), Served() as server:
                server.start()
                children = server.descendants()
                code, seconds = server.stop(number)
                self.assertEqual(code, 0, server.output)
                self.assertLess(seconds, STOP_LIMIT)
                self.assertTrue(gone(children))

    def test_open_long_poll(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            answer = server.get("/socket.io/?EIO=4&transport=polling")
            sid = json.loads(answer[1:])["sid"]
            poll = socket.create_connection(("127.0.0.1", server.port))
            for _ in range(2):  # the first is answered at once
                poll.sendall(
                    f"GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\n"
                    "Host: localhost\r\n\r\n".encode()
                )
                time.sleep(0.3)
            code, seconds = server.stop()
            poll.close()
            self.assertEqual(code, 0, server.output)
            self.assertLess(seconds, STOP_LIMIT)

    def test_running_workflow_is_cancelled(self):
        for executor in ("dask", "local"):
            with self.subTest(executor=executor), Served() as server:
                server.start()
                dispatch_id = server.client(LONG_CHAIN.format(executor=executor))
                wait_for(server.runs_a_task)
                children = server.descendants()
                code, seconds = server.stop()
                self.assertEqual(code, 0, server.output)
                self.assertLess(seconds, STOP_LIMIT)
                self.assertEqual(server.status_of(dispatch_id), "CANCELLED")
                self.assertFalse(server.runs_a_task())
                self.assertTrue(gone(children))
                self.assertIn(f"interrupted: {dispatch_id} (workflow)", server.output)
                self.assertEqual(server.interrupted(), [dispatch_id])

    def test_what_was_not_started_yet_is_started_on_the_next_server(self):
        with Served() as server:
            server.start()
            workflow = server.client(RESULT.format(what="LocalDispatcher.register(workflow)(1)"))
            server.stop()
            server.start()
            server.client(RESULT.format(what=f"LocalDispatcher.start({workflow!r})"))
            wait_for(lambda: server.status_of(workflow) in ("COMPLETED", "CANCELLED"))
            self.assertEqual(server.status_of(workflow), "COMPLETED")

    def test_a_database_that_fails_does_not_hold_it_up(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            server.query("ALTER TABLE lattices RENAME TO gone")
            code, seconds = server.stop()
            self.assertEqual(code, 0, server.output)
            self.assertLess(seconds, STOP_LIMIT)
            self.assertIn("what was interrupted cannot be noted in the database", server.output)

    def test_by_force_it_ends_whatever_the_database_does(self):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", GIVE_UP, str(LAUNCHER)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("ended by force", done.stderr)

    def test_while_starting(self):
        with Served() as server:
            server.launch()
            wait_for(lambda: len(server.descendants()) >= 3)
            children = server.descendants()
            code, seconds = server.stop()
            self.assertEqual(code, 0, server.output)
            self.assertLess(seconds, STOP_LIMIT)
            self.assertTrue(gone(children))

    def test_power_cut(self):
        with Served() as server:
            server.start()
            dispatch_id = server.client(LONG_CHAIN.format(executor="dask"))
            wait_for(server.runs_a_task)
            children = server.descendants()
            server.stop(signal.SIGKILL)
            self.assertTrue(gone(children))
            self.assertEqual(server.status_of(dispatch_id), "RUNNING")
            server.start()
            self.assertIn("1 workflow(s) interrupted", server.output)
            self.assertEqual(server.status_of(dispatch_id), "CANCELLED")
            self.assertEqual(server.interrupted(), [dispatch_id])

    def test_what_a_person_cancelled_was_not_interrupted(self):
        with Served() as server:
            server.start()
            dispatch_id = server.client(LONG_CHAIN.format(executor="dask"))
            wait_for(server.runs_a_task)
            server.client(f"import covalent as ct; ct.cancel({dispatch_id!r})")
            wait_for(lambda: server.status_of(dispatch_id) == "CANCELLED")
            server.stop()
            self.assertNotIn("interrupted", server.output)

    def test_while_it_drains_what_runs_goes_on_and_nothing_new_starts(self):
        with Served() as server:
            server.start(RUNTIME_DIRECTORY=str(server.home))
            running = server.client(NESTED)
            wait_for(server.runs_a_task)
            (server.home / "draining").touch()
            with self.assertRaisesRegex(AssertionError, "503"):
                server.client(RESULT.format(what="ct.dispatch(workflow)(1)"))
            wait_for(lambda: server.status_of(running) == "COMPLETED")
            (server.home / "draining").unlink()
            later = server.client(RESULT.format(what="ct.dispatch(workflow)(1)"))
            wait_for(lambda: server.status_of(later) == "COMPLETED")

    def test_a_drain_ends_with_the_server_that_it_was_for(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            (server.home / "draining").touch()  # as in a container, where nobody removes it
            server.start(RUNTIME_DIRECTORY=str(server.home))
            code = LONG_CHAIN.format(executor="local").replace("sleep(60)", "sleep(0)")
            dispatch_id = server.client(code)
            wait_for(lambda: server.status_of(dispatch_id) == "COMPLETED")

    def test_cluster_is_killed(self):
        with Served() as server:
            server.start()
            cluster = psutil.Process(server.process.pid).children()[0]
            cluster.kill()
            self.assertEqual(server.process.wait(10), 1)
            self.assertIn("the Dask cluster is gone", server.output)
            self.assertIn("SIGKILL", server.output)

    def test_with_its_cluster_which_hears_of_it_first(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        launcher = shutil.copytree(LAUNCHER, Path(folder.name) / "server")
        module = launcher / "covalent_service/service.py"
        before = module.read_text()
        # Whatever else goes on on this machine.
        patient = before.replace("TOLD_APART = 1\n", "TOLD_APART = 60\n")
        self.assertNotEqual(patient, before)
        module.write_text(patient)
        with Served(launcher) as server:
            server.start()
            cluster = psutil.Process(server.process.pid).children()[0]
            cluster.terminate()
            wait_for(lambda: cluster.status() == psutil.STATUS_ZOMBIE)
            self.assertEqual(server.stop()[0], 0, server.output)


class Refusing(unittest.TestCase):
    def test_busy_port_leaves_the_running_server_alone(self):
        with Served() as server:
            server.start()
            dispatch_id = server.client(LONG_CHAIN.format(executor="dask"))
            with Served(COVALENT_SVC_PORT=str(server.port)) as second:
                second.variables["HOME"] = str(server.home)
                self.assertEqual(second.refuse(), 1)
                self.assertIn(f"port {server.port} on localhost is taken by", second.output)
                self.assertIn(f"process {server.process.pid} (", second.output)
                self.assertEqual(len(second.output.splitlines()), 1)
            self.assertEqual(server.status_of(dispatch_id), "RUNNING")

    def test_wrong_settings(self):
        for name, value, accepted in (
            ("COVALENT_SVC_PORT", "http", "1 to 65535"),
            ("LOGLEVEL", "loud", "DEBUG, INFO"),
            ("COVALENT_DATABASE_URL", "nonsense", "postgresql"),
        ):
            with self.subTest(name=name), Served() as server:
                self.assertEqual(server.refuse(**{name: value}), 78)
                self.assertIn(name, server.output)
                self.assertIn(accepted, server.output)
                self.assertEqual(len(server.output.splitlines()), 1, server.output)

    def test_cluster_that_cannot_start_says_why(self):
        with Served() as server:
            (server.home / ".config/covalent").mkdir(parents=True)
            (server.home / ".config/covalent/covalent.conf").write_text(
                '[dask]\nnum_workers = 1\nmem_per_worker = "much"\n'
            )
            self.assertEqual(server.refuse(), 1)
            self.assertIn("the Dask cluster did not start: ", server.output)
            self.assertIn("much", server.output.splitlines()[-1])

    def test_a_file_of_dasks_that_cannot_be_read_is_named(self):
        with Served() as server:
            file = server.home / ".config/dask/mine.yaml"
            file.parent.mkdir(parents=True)
            file.write_text("distributed: [")
            self.assertEqual(server.refuse(), 78)
            self.assertIn(str(file), server.output)
            self.assertEqual(len(server.output.splitlines()), 1)

    def test_executor_that_does_not_load_is_named(self):
        for text in ("raise RuntimeError('broken')", "def half("):
            with self.subTest(text=text), Served(COVALENT_DISABLE_DASK="1") as server:
                file = server.home / ".config/covalent/executor_plugins/mine.py"
                file.parent.mkdir(parents=True)
                file.write_text(text)
                self.assertEqual(server.refuse(), 78)
                self.assertIn(f"the executor {file} cannot be loaded", server.output)
                self.assertEqual(len(server.output.splitlines()), 1)

    def test_database_of_another_covalent_is_left_alone(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            server.stop()
            server.query("UPDATE alembic_version SET version_num = 'unknown'")
            before = server.database.read_bytes()
            self.assertEqual(server.refuse(), 79)
            self.assertIn("cannot be migrated to revision", server.output)
            self.assertEqual(server.database.read_bytes(), before)
            self.assertEqual(list(server.database.parent.glob("*.upgrading*")), [])


class Upgrading(unittest.TestCase):
    def test_a_start_that_fails_after_a_migration_says_so(self):
        with Served() as server:
            server.start(COVALENT_DISABLE_DASK="1")
            server.stop()
            downgrade(server)
            configuration = server.home / ".config/covalent/covalent.conf"
            wrong = '[dask]\nnum_workers = 1\nmem_per_worker = "much"\n'
            configuration.write_text(wrong)
            self.assertEqual(server.refuse(), 79)
            self.assertIn("the Dask cluster did not start: ", server.output)
            # The next one finds nothing to migrate, and still nobody was served.
            self.assertEqual(server.refuse(), 79)
            configuration.unlink()
            server.start()
            server.stop()
            configuration.write_text(wrong)
            self.assertEqual(server.refuse(), 1)

    def test_a_kill_before_it_serves_from_a_migrated_database_leaves_a_mark(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            mark = server.home / "unproven"
            server.start()
            self.assertFalse(mark.exists())
            server.stop()
            downgrade(server)
            server.launch()
            wait_for(mark.exists)
            server.process.kill()
            server.process.wait()
            self.assertEqual(mark.read_text(), sys.prefix)
            server.start()
            self.assertFalse(mark.exists())

    def test_covalents_own_command_migrates_the_database_that_its_input_names(self):
        """As the service advises for a kind of database that it does not migrate itself."""
        sudo, covalentctl, run, end, *command = shlex.split(migration.MIGRATE)
        self.assertEqual([sudo, covalentctl, run, end], ["sudo", "covalentctl", "run", "--"])
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            server.stop()
            (current,) = server.query("SELECT version_num FROM alembic_version")
            downgrade(server)
            elsewhere = server.home / "elsewhere.sqlite"
            server.database.rename(elsewhere)
            done = subprocess.run(
                command,
                env={
                    **server.variables,
                    "PATH": f"{Path(sys.executable).parent}:{server.variables['PATH']}",
                },
                input=f"sqlite+pysqlite:///{elsewhere}\n",
                capture_output=True,
                text=True,
                timeout=60,
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertFalse(server.database.exists())
            elsewhere.rename(server.database)
            (migrated,) = server.query("SELECT version_num FROM alembic_version")
            self.assertEqual(migrated, current)

    def test_older_database_is_kept_beside_the_upgraded_one(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            server.start()
            server.stop()
            downgrade(server)
            before = server.database.read_bytes()
            server.start()
            kept = server.database.with_name(server.database.name + ".7b40a55c0752")
            self.assertEqual(kept.read_bytes(), before)
            self.assertNotEqual(server.database.read_bytes(), before)


class Verifying(unittest.TestCase):
    def verify(self, home, **variables):
        return subprocess.run(
            [sys.executable, str(LAUNCHER / "verify.py")],
            env={"HOME": home, "PATH": "/usr/bin:/bin", **variables},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_good_environment(self):
        with tempfile.TemporaryDirectory() as home:
            # What the service is told must not be touched by a check.
            done = self.verify(home, COVALENT_CONFIG_DIR="/nonexistent")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 1, done.stdout)
        found = json.loads(done.stdout)
        self.assertRegex(found["covalent"], r"^\d+\.\d+")
        self.assertLessEqual({"dask", "local"}, set(found["executors"]))

    def test_plugin_that_does_not_import_is_named(self):
        with tempfile.TemporaryDirectory() as home:
            plugin = Path(home, "broken-1.0.dist-info")
            plugin.mkdir()
            (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
            (plugin / "entry_points.txt").write_text(
                "[covalent.executor.executor_plugins]\nbroken = broken_plugin\n"
            )
            Path(home, "broken_plugin.py").write_text("import missing_module\n")
            done = self.verify(home, PYTHONPATH=home)
        self.assertEqual(done.returncode, 1)
        self.assertIn("broken 1.0", done.stderr)
        self.assertIn("missing_module", done.stderr)


if __name__ == "__main__":
    unittest.main()
