"""Each adjustment against the Covalent in this environment, as it is and as adjusted.

A test named `test_covalent_still_...` that fails means good news: Covalent no longer does
what the adjustment is for. Then the adjustment and its tests can go.
"""

import asyncio
import contextlib
import contextvars
import copy
import importlib
import inspect
import io
import logging
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import types
import unittest
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

import own_home  # noqa: F401

# isort: split
import dask.config
import distributed.utils
from covalent._dispatcher_plugins import local as local_dispatcher
from covalent_dispatcher._core.data_modules import importer as manifest_importer
from covalent_dispatcher._core.data_modules import utils as data_module_utils
from covalent_dispatcher._db import datastore
from covalent_dispatcher._service import app_dask
from distributed import Scheduler

from covalent_service import adjustments


def fresh(name):
    """The module as it is on its first import."""
    sys.modules.pop(name, None)
    return importlib.import_module(name)


class PercentInAddress(unittest.TestCase):
    ADDRESS = "postgresql+psycopg2://me:a%40b@localhost/covalent"

    def setUp(self):
        self.datastore = type("DataStore", (datastore.DataStore,), {})
        self.store = self.datastore.__new__(self.datastore)
        self.store.db_URL = self.ADDRESS

    def test_covalent_still_takes_it_for_syntax(self):
        with self.assertRaisesRegex(ValueError, "invalid interpolation"):
            self.store.get_alembic_config()

    def test_adjusted(self):
        adjustments.percent_in_address(self.datastore)
        config = self.store.get_alembic_config(logging_enabled=False)
        self.assertEqual(config.get_main_option("sqlalchemy.url"), self.ADDRESS)
        self.assertEqual(self.store.db_URL, self.ADDRESS)


class AlembicSearchPath(unittest.TestCase):
    def setUp(self):
        self.datastore = type("DataStore", (datastore.DataStore,), {})
        self.store = self.datastore.__new__(self.datastore)
        self.store.db_URL = "sqlite+pysqlite:///x"
        before = list(sys.path)
        self.addCleanup(lambda: sys.path.__setitem__(slice(None), before))

    def search_path(self):
        self.store.current_head()
        return sys.path

    def test_covalent_still_puts_the_working_directory_first(self):
        self.assertEqual(self.search_path()[0], ".")

    def test_adjusted(self):
        adjustments.alembic_search_path(self.datastore)
        self.assertNotIn(".", self.search_path())


class TarFilter(unittest.TestCase):
    def test_covalent_still_unpacks_sublattices_with_the_filter(self):
        self.assertIn('filter="tar"', inspect.getsource(local_dispatcher.untar_staging_dir))

    def test_pythons_own_filter_is_left_alone(self):
        if hasattr(tarfile, "tar_filter"):
            before = tarfile.TarFile.extractall
            adjustments.tar_filter()
            self.assertIs(tarfile.TarFile.extractall, before)

    def test_a_python_without_the_filter_gets_it(self):
        class TarFile:
            extractall = None

        with mock.patch.object(adjustments, "tarfile", types.SimpleNamespace(TarFile=TarFile)):
            adjustments.tar_filter()
        self.assertIn("filter", inspect.signature(TarFile.extractall).parameters)


class Terminal(unittest.TestCase):
    def setUp(self):
        self.api = fresh("covalent_ui.api.main")
        self.handlers = self.api.sio.handlers["/"]

    def test_covalent_still_offers_it(self):
        self.assertLessEqual(set(adjustments.TERMINAL_EVENTS), set(self.handlers))

    def test_is_off(self):
        adjustments.terminal_off(self.api)
        self.assertEqual(self.handlers, {})


class NewWorkflows(unittest.IsolatedAsyncioTestCase):
    """What comes of one over a restart: test_service.py."""

    async def test_covalent_still_cancels_them_as_it_ends(self):
        app = fresh("covalent_dispatcher._service.app")
        self.assertIn("RESULT_STATUS.NEW_OBJECT,", inspect.getsource(app.lifespan))

    async def test_only_what_runs_is_cancelled(self):
        cancel = mock.AsyncMock()
        app = types.SimpleNamespace(cancel_all_with_status=cancel)
        adjustments.new_workflows_stay(app)
        await app.cancel_all_with_status("NEW_OBJECT")
        cancel.assert_not_awaited()
        await app.cancel_all_with_status("RUNNING")
        cancel.assert_awaited_once_with("RUNNING")


class InterfacePath(unittest.TestCase):
    def setUp(self):
        self.app = fresh("covalent_ui.app")

    def test_covalent_still_looks_below_the_working_directory(self):
        self.assertFalse(os.path.isabs(self.app.socketio_app.static_files[""]))

    def test_is_absolute(self):
        adjustments.interface_path(self.app)
        for path in self.app.socketio_app.static_files.values():
            self.assertTrue(Path(path).is_absolute())
            self.assertTrue(Path(path).exists())
        self.app.templates.get_template("index.html")


class TaskFiles(unittest.TestCase):
    def test_covalent_still_notes_no_folder_of_a_task(self):
        """The page of a task, as adjusted: test_service.py, the test of the environment."""
        importer = fresh("covalent_dispatcher._dal.importers.electron")
        source = inspect.getsource(importer.import_electron)
        self.assertIn('asset_recs["function"].storage_path', source)


plain_text = subprocess.CalledProcessError.__str__


class ExecutorFolders(unittest.TestCase):
    THEIRS = "/home/somebody/.cache/covalent/workdir"

    def setUp(self):
        self.plugin = fresh("covalent.executor.executor_plugins.local").LocalExecutor
        self.dask = fresh("covalent.executor.executor_plugins.dask").DaskExecutor
        self.own = self.plugin().workdir

    def received(self, workdir):
        description = {"attributes": {**vars(self.plugin()), "workdir": workdir}}
        return self.plugin().from_dict(description).workdir

    def adjust(self):
        adjustments.executor_folders({"local": self.plugin, "dask": self.dask})

    def test_covalent_still_takes_the_clients_folders(self):
        self.assertEqual(self.received(self.THEIRS), self.THEIRS)

    def test_a_default_that_cannot_be_written_becomes_our_own(self):
        self.adjust()
        with mock.patch.object(adjustments, "_can_be_written", return_value=False):
            self.assertEqual(self.received(self.THEIRS), self.own)

    def test_a_default_that_can_be_written_stays(self):
        self.adjust()
        with mock.patch.object(adjustments, "_can_be_written", return_value=True):
            self.assertEqual(self.received(self.THEIRS), self.THEIRS)

    def test_a_plugins_default_becomes_our_own_and_stays_a_path(self):
        self.adjust()
        theirs = "/home/somebody/.config/covalent/executor_plugins/covalent-slurm-cache"
        own = Path(os.environ["HOME"], ".cache/covalent")
        for kind in (str, Path):
            with mock.patch.object(adjustments, "_can_be_written", return_value=False):
                executor = self.dask()
                attributes = {**vars(executor), "cache_dir": kind(theirs)}
                executor.from_dict({"attributes": attributes})
            self.assertEqual(executor.cache_dir, kind(own))

    def test_a_choice_stays_and_fails_by_its_name(self):
        self.adjust()
        self.assertEqual(self.received("/nowhere/chosen"), "/nowhere/chosen")

    def test_a_folder_that_is_not_there_is_judged_by_the_one_above(self):
        with tempfile.TemporaryDirectory() as above:
            self.assertTrue(adjustments._can_be_written(Path(above, "not", "there")))


class DaskConnection(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.plugin = fresh("covalent.executor.executor_plugins.dask")

    def test_covalent_still_leaves_it_open(self):
        self.assertNotIn("close(", inspect.getsource(self.plugin))

    async def test_is_one_until_it_is_lost(self):
        adjustments.dask_connection(self.plugin.DaskExecutor)
        async with Scheduler(dashboard=False, port=0, host="127.0.0.1") as scheduler:
            first = await self.plugin.Client(address=scheduler.address, asynchronous=True)
            same = await self.plugin.Client(address=scheduler.address, asynchronous=True)
            self.assertIs(same, first)
            await first.close()
            other = await self.plugin.Client(address=scheduler.address, asynchronous=True)
            self.assertEqual(other.status, "running")
            await other.close()

    async def test_is_made_anew_after_a_task_gave_up_waiting(self):
        adjustments.dask_connection(self.plugin.DaskExecutor)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
            first = self.plugin.Client(address=address, asynchronous=True)
            with self.assertRaises(TimeoutError):
                await asyncio.wait_for(first, timeout=0.2)
            other = self.plugin.Client(address=address, asynchronous=True)
            self.assertIsNot(other, first)
            for client in (first, other):
                client._started.cancel()
                await client.close()


class ProcessErrors(unittest.TestCase):
    """What a task tells of a dependency that can't be had."""

    def failure(self):
        bash = fresh("covalent._workflow.depsbash")
        try:
            bash.apply_bash_commands(["echo the reason >&2; exit 3"])
        except subprocess.CalledProcessError as error:
            return str(error)

    def test_covalent_still_drops_the_reason(self):
        with mock.patch.object(subprocess.CalledProcessError, "__str__", plain_text):
            self.assertNotIn("\nthe reason", self.failure())

    def test_the_reason_is_told(self):
        adjustments.process_errors()
        adjustments.process_errors()
        self.assertEqual(self.failure().count("\nthe reason"), 1)


class ClusterOnItsOwn(unittest.TestCase):
    """DaskCluster.run, called in this process, with a cluster that is none."""

    def setUp(self):
        self.adjusted = fresh("covalent_dispatcher._service.app_dask")
        self.admin = self.adjusted.DaskAdminWorker
        self.adjusted.DaskAdminWorker = mock.Mock()
        self.quiet = logging.getLogger("quiet")
        self.quiet.addHandler(logging.NullHandler())
        self.quiet.propagate = False

    def run_cluster(self, local_cluster):
        self.adjusted.LocalCluster = local_cluster
        connection = mock.Mock()
        cluster = self.adjusted.DaskCluster("name", self.quiet, connection)
        with contextlib.redirect_stderr(io.StringIO()):
            cluster.run()
        return connection

    def failing(self, **_options):
        raise ValueError("no cluster today")

    def test_covalent_still_gives_the_dashboard_to_everyone(self):
        start = mock.Mock()
        self.run_cluster(start)
        self.assertNotIn("dashboard_address", start.call_args.kwargs)
        default = inspect.signature(app_dask.LocalCluster).parameters["dashboard_address"].default
        self.assertEqual(default, ":8787")

    def test_dashboard_is_where_we_say(self):
        start = mock.Mock()
        self.adjusted.LocalCluster = start
        adjustments.dashboard_address(self.adjusted, "127.0.0.1:1")
        self.run_cluster(self.adjusted.LocalCluster)
        self.assertEqual(start.call_args.kwargs["dashboard_address"], "127.0.0.1:1")

    def test_covalent_still_lets_dask_listen_on_loopback(self):
        start = mock.Mock()
        self.run_cluster(start)
        self.assertFalse({"protocol", "security"} & set(start.call_args.kwargs))
        self.assertIn('f"tcp://{self._admin_host}', inspect.getsource(self.admin.run))

    def test_dask_listens_where_we_say(self):
        start = mock.Mock()
        self.adjusted.LocalCluster = start
        adjustments.cluster_by_files(self.adjusted, "unix")
        self.run_cluster(self.adjusted.LocalCluster)
        self.assertEqual(start.call_args.kwargs["protocol"], "unix")

    def test_covalent_still_hides_why_the_cluster_failed(self):
        with self.assertRaises(AttributeError):
            self.run_cluster(self.failing)

    def test_failure_is_told(self):
        self.adjusted.LocalCluster = self.failing
        adjustments.cluster_failure(self.adjusted)
        with self.assertRaisesRegex(adjustments.ClusterFailure, "no cluster today"):
            self.run_cluster(self.adjusted.LocalCluster)

    def test_covalent_still_lets_the_process_run_off_its_end(self):
        connection = self.run_cluster(mock.Mock())
        connection.send.assert_called_once()

    def test_process_stays(self):
        adjustments.cluster_stays(self.adjusted)
        with mock.patch("threading.Event") as event:
            self.run_cluster(mock.Mock())
        event.return_value.wait.assert_called_once_with()


class Suspects(unittest.IsolatedAsyncioTestCase):
    def test_dask_still_suspects_whatever_a_worker_had(self):
        source = inspect.getsource(Scheduler.remove_worker)
        self.assertIn("for ts in list(ws.processing):", source)
        self.assertIn("ts.suspicious += 1", source)

    async def suspicious(self, **options):
        """How often each of two tasks is, after the worker was lost that was at the first."""
        tasks = [types.SimpleNamespace(key=key, suspicious=0) for key in ("first", "second")]

        class Removing:
            workers = {"unix://a:1": types.SimpleNamespace(processing=tasks)}

            async def remove_worker(self, address, expected=False):
                for task in self.workers[address].processing:
                    task.suspicious += not expected

        adjustments.suspects(Removing, lambda address: {"first"})
        await Removing().remove_worker("unix://a:1", **options)
        return [task.suspicious for task in tasks]

    async def test_only_what_it_was_at_is(self):
        self.assertEqual(await self.suspicious(), [1, 0])
        self.assertEqual(await self.suspicious(expected=True), [0, 0])


class LocalPool(unittest.TestCase):
    def test_covalent_still_has_one_pool(self):
        plugin = fresh("covalent.executor.executor_plugins.local")
        self.assertIs(type(plugin.proc_pool), ProcessPoolExecutor)

    def test_is_replaced(self):
        plugin = fresh("covalent.executor.executor_plugins.local")
        adjustments.local_pool(plugin.LocalExecutor)
        self.assertIsInstance(plugin.proc_pool, adjustments.LocalPool)
        self.assertEqual(plugin.proc_pool.submit(sum, [1, 2]).result(), 3)


class AssetAddresses(unittest.TestCase):
    def setUp(self):
        self.store = fresh("covalent_dispatcher._object_store.local")
        self.provider = self.store.LocalProvider()
        self.utils = types.SimpleNamespace(dm_pool=data_module_utils.dm_pool)

    def address(self):
        return self.provider.get_public_uri(self.provider.base_path, "id/result.tobj")

    def test_covalent_still_has_one_address_for_all(self):
        self.assertEqual(self.address(), f"{self.store.SERVER_URL}/api/v0/files/id/result.tobj")

    def test_is_where_the_caller_calls_it(self):
        for site in ("https://server.example.org", "http://localhost:9000"):
            adjustments.asset_addresses(self.store, self.utils, lambda site=site: site)
            self.assertEqual(self.address(), f"{site}/api/v0/files/id/result.tobj")
            self.assertEqual(self.provider.get_public_uri("/elsewhere", "x"), "")
            self.store.LocalProvider.get_public_uri = (
                self.store.LocalProvider.get_public_uri.__wrapped__
            )

    def test_is_covalents_own_where_nobody_called(self):
        adjustments.asset_addresses(self.store, self.utils, lambda: "")
        self.assertEqual(self.address(), f"{self.store.SERVER_URL}/api/v0/files/id/result.tobj")

    def seen_by(self, pool):
        """What a context variable of the caller's is, in a thread of Covalent's."""
        variable = contextvars.ContextVar("variable", default="none")

        async def ask():
            variable.set("set")
            with mock.patch.object(data_module_utils, "dm_pool", pool):
                return await data_module_utils.run_in_executor(variable.get)

        return asyncio.run(ask())

    def test_covalent_still_makes_some_in_a_thread_without_the_context(self):
        source = inspect.getsource(manifest_importer.import_manifest)
        self.assertIn("await run_in_executor(\n        _import_manifest", source)
        self.assertEqual(self.seen_by(data_module_utils.dm_pool), "none")

    def test_it_has_the_context_now(self):
        adjustments.asset_addresses(self.store, self.utils, lambda: "")
        self.assertEqual(self.seen_by(self.utils.dm_pool), "set")


class WorkerPreload(unittest.TestCase):
    def test_covalent_still_starts_workers_afresh(self):
        self.assertEqual(dask.config.get("distributed.worker.multiprocessing-method"), "spawn")
        self.assertEqual(dask.config.get("distributed.worker.preload"), [])

    def test_is_added_to_what_the_administrator_preloads(self):
        for before in (["theirs"], "theirs"):
            with (
                self.subTest(before=before),
                dask.config.set({"distributed.worker.preload": before}),
            ):
                adjustments.worker_preload("ours")
                self.assertEqual(dask.config.get("distributed.worker.preload"), ["theirs", "ours"])


class IdleCluster(unittest.TestCase):
    DEFAULTS = {
        "distributed.worker.profile.enabled": True,
        "distributed.worker.memory.monitor-interval": "100ms",
        "distributed.admin.tick.interval": "20ms",
        "distributed.admin.system-monitor.interval": "500ms",
    }

    def settings(self):
        return {name: dask.config.get(name) for name in self.DEFAULTS}

    def test_covalent_still_leaves_dask_busy(self):
        self.assertEqual(self.settings(), self.DEFAULTS)

    def test_is_quieter_but_where_the_administrator_says_how(self):
        before = copy.deepcopy(dask.config.get("distributed"))
        with dask.config.set({"distributed": before}):
            dask.config.set({"distributed.admin.tick.interval": "1s"})
            adjustments.idle_cluster()
            self.addCleanup(dask.config.defaults.pop)
            self.assertEqual(list(self.settings().values()), [False, "250ms", "1s", "5s"])


class WorkersShareMemory(unittest.TestCase):
    METHOD = "distributed.worker.multiprocessing-method"

    def test_dask_still_starts_each_worker_afresh(self):
        self.assertEqual(dask.config.get(self.METHOD), "spawn")
        self.assertFalse(distributed.utils._forkserver_preload_set)

    def test_are_forked_but_where_the_administrator_says_how(self):
        before = copy.deepcopy(dask.config.get("distributed"))
        for theirs, found in ((None, "forkserver"), ("fork", "fork")):
            with self.subTest(theirs=theirs), dask.config.set({"distributed": before}):
                if theirs:
                    dask.config.set({self.METHOD: theirs})
                with (
                    mock.patch("multiprocessing.set_forkserver_preload") as preload,
                    mock.patch("distributed.utils._forkserver_preload_set", False),
                ):
                    adjustments.workers_share_memory()
                    # As a nanny does it, which then leaves the list alone.
                    method = distributed.utils.get_mp_context().get_start_method()
                self.addCleanup(dask.config.defaults.pop)
                self.assertEqual(method, found)
                preload.assert_called_once_with(adjustments.SHARED_BY_WORKERS)


class Configuration(unittest.TestCase):
    """What `configuration.rewrite` is for."""

    def ask(self, home, key, **variables):
        code = f"from covalent._shared_files.config import get_config; print({key})"
        return subprocess.run(
            [sys.executable, "-c", code],
            env={"HOME": home, **variables},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()

    def test_covalent_still_ignores_the_environment_after_the_first_time(self):
        port = "get_config('dispatcher.port')"
        with tempfile.TemporaryDirectory() as home:
            self.assertEqual(self.ask(home, port, COVALENT_SVC_PORT="1111"), "1111")
            self.assertEqual(self.ask(home, port, COVALENT_SVC_PORT="2222"), "1111")

    def test_covalent_still_takes_the_heartbeat_interval_as_text(self):
        interval = "type(get_config('dispatcher.heartbeat_interval')).__name__"
        with tempfile.TemporaryDirectory() as home:
            found = self.ask(home, interval, COVALENT_HEARTBEAT_INTERVAL="9")
            self.assertEqual(found, "str")

    def test_toml_that_covalent_writes_is_read_and_written(self):
        from covalent_service import configuration

        with tempfile.TemporaryDirectory() as home:
            self.ask(home, "0", COVALENT_SVC_PORT="1111")
            path = Path(home, ".config/covalent/covalent.conf")
            text = path.read_text() + '\n[executors.mine]\nlog_stdout = "CUSTOM.log"\n'
            path.write_text(text)
            configuration.rewrite(path, 9, cores=2)
            mine = "get_config('executors.mine.log_stdout')"
            self.assertEqual(self.ask(home, mine, COVALENT_SVC_PORT="2222"), "CUSTOM.log")
            port = "get_config('dispatcher.port')"
            self.assertEqual(self.ask(home, port), "2222")
            interval = "repr(get_config('dispatcher.heartbeat_interval'))"
            self.assertEqual(self.ask(home, interval), "9")


class Interrupted(unittest.TestCase):
    """What `workflows.cancel_unfinished` is for."""

    def test_covalent_still_knows_these_states(self):
        from covalent._shared_files.util_classes import RESULT_STATUS

        from covalent_service.workflows import UNFINISHED_TASK, UNFINISHED_WORKFLOW

        known = {str(value) for name, value in vars(RESULT_STATUS).items() if name.isupper()}
        self.assertLessEqual({*UNFINISHED_TASK, *UNFINISHED_WORKFLOW}, known)


if __name__ == "__main__":
    unittest.main()
