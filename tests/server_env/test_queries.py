"""What Covalent asks its database about one task, and about all of a workflow: beside its own."""

import asyncio
import functools
import inspect
import unittest
from datetime import datetime, timezone
from unittest import mock

import own_home  # noqa: F401

# isort: split
from covalent._shared_files.defaults import postprocess_prefix
from covalent._shared_files.util_classes import RESULT_STATUS
from covalent_dispatcher._core.data_manager import generate_node_result
from covalent_dispatcher._core.data_modules import asset_manager, electron, graph, job_manager
from covalent_dispatcher._dal import asset
from covalent_dispatcher._dal.base import DispatchedObject
from covalent_dispatcher._dal.electron import ASSET_KEYS as ELECTRON_KEYS
from covalent_dispatcher._dal.exporters import result as manifests_of
from covalent_dispatcher._dal.exporters import tg
from covalent_dispatcher._dal.lattice import ASSET_KEYS as LATTICE_KEYS
from covalent_dispatcher._dal.result import ASSET_KEYS as RESULT_KEYS
from covalent_dispatcher._db import models
from covalent_dispatcher._db.datastore import workflow_db
from sqlalchemy import event

from covalent_service import manifests, queries

OF_TASK = sorted(ELECTRON_KEYS)
OF_WORKFLOW = sorted({*LATTICE_KEYS, *RESULT_KEYS})


class Queries(unittest.TestCase):
    """Each beside Covalent's own, on a workflow of a parameter, a task and what depends on both."""

    @classmethod
    def setUpClass(cls):
        models.Base.metadata.create_all(workflow_db.engine)
        cls.addClassCleanup(models.Base.metadata.drop_all, workflow_db.engine)
        lattice = {
            "name": "workflow",
            "status": "RUNNING",
            "electron_num": 3,
            "root_dispatch_id": "w",
            "executor": "dask",
            "executor_data": "{}",
            "workflow_executor": "dask",
            "workflow_executor_data": "{}",
            "python_version": "3",
            "covalent_version": "0",
        }
        with workflow_db.session() as session:

            def add(record):
                session.add(record)
                session.flush()
                return record.id

            def workflow(dispatch_id, **more):
                counts = {**lattice, "completed_electron_num": 0, "dispatch_id": dispatch_id}
                return add(models.Lattice(**counts, **more))

            for dispatch_id in ("other", "w"):
                number = workflow(dispatch_id)
                tasks = [
                    add(
                        models.Electron(
                            parent_lattice_id=number,
                            transport_graph_node_id=node,
                            task_group_id=node,
                            type="function",
                            name=f"{dispatch_id}{node}",
                            status="COMPLETED",
                            executor="dask",
                            executor_data='{"a": 1}',
                            job_id=add(models.Job(job_handle=f'"{node}"')),
                        )
                    )
                    for node in range(3)
                ]
                for before, name in ((0, "z"), (1, "a"), (0, "a")):
                    add(
                        models.ElectronDependency(
                            electron_id=tasks[2],
                            parent_electron_id=tasks[before],
                            edge_name=name,
                            parameter_type="arg",
                            arg_index=before,
                        )
                    )
                owners = [(models.LatticeAsset, number, key) for key in OF_WORKFLOW]
                for task in tasks:
                    owners += [(models.ElectronAsset, task, key) for key in OF_TASK]
                for link, owner, key in owners:
                    place = f"{dispatch_id}{owner}/{key}"
                    where = {"storage_type": "file", "storage_path": "/data", "object_key": place}
                    stored = models.Asset(**where, size=1)
                    add(link(meta_id=owner, key=key, asset_id=add(stored)))
            workflow("inner", electron_id=tasks[1])

    def rows(self, key):
        """Where that file of the task is, and how many bytes it has."""
        with workflow_db.session() as session:
            task = session.query(models.Electron.id).filter_by(name="w1").scalar_subquery()
            found = session.query(models.Asset.object_key, models.Asset.size)
            links = models.ElectronAsset
            return (
                found.join(links, links.asset_id == models.Asset.id)
                .filter(links.meta_id == task, links.key == key)
                .all()
            )

    def place(self, key):
        return f"file:///data/{self.rows(key)[0].object_key}"

    def sizes(self, key):
        return [row.size for row in self.rows(key)]

    def assert_same(self, module, ours, *arguments):
        """Ours asks Covalent's own nothing, and answers the same."""
        own = getattr(module, ours.__name__)
        answers = [own(*arguments), ours(None, *arguments)]
        if inspect.isawaitable(answers[0]):
            answers = [asyncio.run(_awaited(answer)) for answer in answers]
        self.assertEqual(answers[1], answers[0])
        return answers[0]

    def test_covalent_still_reads_whole_rows(self):
        for function in (electron.get_bulk_sync, graph.get_incoming_edges_sync):
            self.assertIn("get_result_object(dispatch_id)", inspect.getsource(function))
        self.assertIn("select(Lattice)", inspect.getsource(job_manager.to_job_ids))

    def test_facts_of_a_task(self):
        keys = ["name", "status", "executor_data", "sub_dispatch_id", "type", "start_time"]
        for node, inner in ((1, "inner"), (2, None)):
            found = self.assert_same(electron, queries.get_bulk_sync, "w", [node], keys)
            self.assertEqual(found[0]["sub_dispatch_id"], inner)

    def changed(self, update, node, status, **news):
        """What an update answers, and all that it changes, which is taken back then."""
        tables = (models.Electron.__table__, models.Lattice.__table__)

        def rows():
            with workflow_db.engine.connect() as connection:
                found = [
                    [dict(row) for row in connection.execute(table.select().order_by(table.c.id))]
                    for table in tables
                ]
            for row in (row for table in found for row in table):
                row.pop("updated_at")
            return found

        with workflow_db.engine.begin() as connection:
            kept = [[dict(row) for row in connection.execute(table.select())] for table in tables]
            running = tables[0].update().where(tables[0].c.name.startswith("w"))
            connection.execute(running.values(status="RUNNING"))
        try:
            return update("w", generate_node_result(node, status=status, **news)), rows()
        finally:
            with workflow_db.engine.begin() as connection:
                for table, before in zip(tables, kept):
                    for row in before:
                        change = table.update().where(table.c.id == row["id"])
                        connection.execute(change.values(row))

    def test_covalent_still_reads_whole_rows_to_change_a_status(self):
        source = inspect.getsource(electron.update_sync)
        self.assertIn("get_result_object(dispatch_id, bare=True)", source)

    def test_a_change_of_a_task(self):
        at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
        own = mock.Mock(side_effect=AssertionError("Covalent's own was asked"))
        kinds = [
            (RESULT_STATUS.COMPLETED, {"end_time": at}),
            (RESULT_STATUS.FAILED, {"start_time": at, "end_time": at}),
            (RESULT_STATUS.CANCELLED, {}),
            (RESULT_STATUS.RUNNING, {"start_time": at}),
            (RESULT_STATUS.DISPATCHING, {}),
        ]
        for status, news in kinds:
            with self.subTest(str(status)):
                ours = functools.partial(queries.update_sync, own)
                found = self.changed(ours, 1, status, **news)
                self.assertEqual(found, self.changed(electron.update_sync, 1, status, **news))
                self.assertEqual(found[0], status != RESULT_STATUS.RUNNING)

    def test_a_task_that_has_ended_stays_so(self):
        result = generate_node_result(0, status=RESULT_STATUS.RUNNING)
        self.assertFalse(queries.update_sync(mock.Mock(), "w", result))
        self.assertFalse(electron.update_sync("w", result))

    def test_the_changes_that_covalent_makes_itself(self):
        tasks = models.Electron.__table__
        named = tasks.update().where(tasks.c.name == "w1")
        completed = generate_node_result(1, status=RESULT_STATUS.COMPLETED)
        for row, result in (
            ({}, generate_node_result(1, status=RESULT_STATUS.FAILED, error="why")),
            ({}, generate_node_result(7, status=RESULT_STATUS.FAILED)),
            ({"type": "sublattice"}, completed),
            ({"name": f"{postprocess_prefix}x"}, completed),
        ):
            own = mock.Mock()
            with workflow_db.engine.begin() as connection:
                connection.execute(named.values(status="RUNNING", **row))
            try:
                queries.update_sync(own, "w", result)
            finally:
                with workflow_db.engine.begin() as connection:
                    back = tasks.update().where(tasks.c.status == "RUNNING")
                    before = {"status": "COMPLETED", "type": "function", "name": "w1"}
                    connection.execute(back.values(before))
            own.assert_called_once_with("w", result)

    def test_what_covalent_answers_itself(self):
        own = mock.Mock()
        for tasks, keys in (([0, 1], ["name"]), ([1], ["output"]), ([7], ["name"])):
            queries.get_bulk_sync(own, "w", tasks, keys)
            own.assert_called_with("w", tasks, keys)

    def test_edges(self):
        for node in range(3):
            self.assert_same(graph, queries.get_incoming_edges_sync, "w", node)
            self.assert_same(
                graph, queries.get_node_successors_sync, "w", node, ["task_group_id", "status"]
            )

    def test_jobs(self):
        found = self.assert_same(job_manager, queries.get_jobs_metadata, "w", [1])
        self.assertEqual(found[0]["job_handle"], '"1"')

    def test_a_job_is_changed_and_no_other(self):
        change = queries._set_job_metadata(None, "w", 1, job_handle="new", job_status=None)
        asyncio.run(change)
        for dispatch_id, handle in (("w", "new"), ("other", '"1"')):
            jobs = asyncio.run(_awaited(job_manager.get_jobs_metadata(dispatch_id, [1])))
            self.assertEqual(jobs[0]["job_handle"], handle)
        asyncio.run(queries._set_job_metadata(None, "w", 1, job_handle='"1"'))

    def test_files_are_sent_from_where_they_are(self):
        for upload in (
            asset_manager.upload_asset_for_nodes_sync,
            lambda *asked: queries.upload_asset_for_nodes_sync(None, *asked),
        ):
            with mock.patch.object(asset, "cp") as copy:
                upload("w", "output", {1: "file:///there", 2: ""})
            copy.assert_called_once_with(self.place("output"), "file:///there")

    def manifest(self):
        """What is exported, and how many transactions that takes."""
        begun = mock.Mock()
        event.listen(workflow_db.Session, "after_begin", begun)
        event.listen(workflow_db.Session, "after_transaction_create", begun)
        try:
            return manifests_of.export_result_manifest("w").model_dump_json(), begun.call_count
        finally:
            event.remove(workflow_db.Session, "after_begin", begun)
            event.remove(workflow_db.Session, "after_transaction_create", begun)

    def test_covalent_still_opens_transactions_for_each_task_of_a_manifest(self):
        released, transactions = self.manifest()
        self.assertIn('"sub_dispatch_id":"inner"', released)
        with (
            mock.patch.object(DispatchedObject, "get_value", DispatchedObject.get_value),
            mock.patch.object(tg, "_export_nodes", tg._export_nodes),
        ):
            manifests.read_once()
            ours, fewer = self.manifest()
        self.assertEqual(ours, released)
        # Eight a task, of which there are three.
        self.assertGreaterEqual(transactions - fewer, 24)

    def test_files_are_fetched_and_noted(self):
        update = asset_manager.AssetUpdate
        for size, download in (
            (3, asset_manager.download_assets_for_node_sync),
            (4, lambda *asked: queries.download_assets_for_node_sync(None, *asked)),
        ):
            with mock.patch.object(asset, "cp") as copy:
                news = {
                    "output": update(remote_uri="file:///here", size=size),
                    "stdout": update(size=0),
                }
                download("w", 1, news)
            copy.assert_called_once_with("file:///here", self.place("output"))
            self.assertEqual([self.sizes("output"), self.sizes("stdout")], [[size], [0]])
        self.assertEqual(self.sizes("error"), [1])


async def _awaited(answer):
    return await answer
