"""The executors for the clouds of Microsoft, Google and Oracle, against answers of the test.

The answers are as the vendors document them. The executors' own libraries ask for them,
sign, and read them; Google's Batch speaks gRPC, whose client is the test's.
"""

import asyncio
import json
import os
import re
import tempfile
import unittest
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import covalent  # noqa: F401 - it loads the plugins, which import it
import httpx
import responses
from covalent_azurebatch_plugin.azurebatch import AzureBatchExecutor
from covalent_gcpbatch_plugin.gcpbatch import GCPBatchExecutor
from covalent_oci_plugin.oci import OCIExecutor
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.credentials import AnonymousCredentials
from google.cloud import batch_v1, storage

from tasks import DISPATCH, carry_out, double, metadata, task

TOKEN = {"access_token": "a", "token_type": "Bearer", "expires_in": 3600}


class Clouds(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        stack = ExitStack()  # enterContext came with Python 3.11
        self.addCleanup(stack.close)
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(mock.patch.dict(os.environ, {"HOME": str(self.home)}))
        self.web = stack.enter_context(responses.RequestsMock(assert_all_requests_are_fired=False))
        self.objects = {}

    async def run_by(self, executor):
        wrapped, args, kwargs = task(double, 21)
        result = await executor.run(wrapped, args, kwargs, metadata(self.home))
        return result.get_deserialized()

    def work(self):
        """Do what the container does."""
        self.objects[f"result-{DISPATCH}-0.pkl"] = carry_out(self.objects[f"func-{DISPATCH}-0.pkl"])

    # Microsoft

    def azure(self):
        authority = "https://login.microsoftonline.com/tenant"
        self.web.get(
            re.compile(r"https://login\.microsoftonline\.com/.*/openid-configuration"),
            json={
                "authorization_endpoint": f"{authority}/oauth2/v2.0/authorize",
                "token_endpoint": f"{authority}/oauth2/v2.0/token",
                "issuer": f"{authority}/v2.0",
            },
        )
        self.web.post(re.compile(r"https://login\.microsoftonline\.com/.*/token"), json=TOKEN)
        blob = re.compile(r"https://account\.blob\.core\.windows\.net/covalent-assets/")
        self.web.add_callback(responses.PUT, blob, self.put_blob)
        self.web.add_callback(responses.GET, blob, self.get_blob)
        return AzureBatchExecutor(
            tenant_id="tenant",
            client_id="client",
            client_secret="secret",
            batch_account_url="https://batch.example",
            storage_account_name="account",
            pool_id="pool",
            cache_dir=str(self.home),
            poll_freq=1,
        )

    def put_blob(self, request):
        body = request.body if isinstance(request.body, bytes) else request.body.read()
        self.objects[request.url.split("?")[0].rsplit("/", 1)[1]] = body
        return 201, {"ETag": "1"}, b""

    def get_blob(self, request):
        body = self.objects[request.url.split("?")[0].rsplit("/", 1)[1]]
        size = len(body)
        headers = {"Content-Length": str(size), "Content-Range": f"bytes 0-{size - 1}/{size}"}
        return 206, headers | {"ETag": "1", "x-ms-blob-type": "BlockBlob"}, body

    def azure_batch(self, exit_code):
        job = f"https://batch.example/jobs/covalent-batch-{DISPATCH}-0"
        ended = {"id": "task", "state": "completed", "executionInfo": {"exitCode": exit_code}}
        ended["executionInfo"] |= {"retryCount": 0, "requeueCount": 0}
        self.web.post("https://batch.example/jobs", status=201)
        self.web.add_callback(responses.POST, f"{job}/tasks", self.take_azure_task)
        self.web.get(f"{job}/tasks", json={"value": [ended]})
        self.web.get(f"{job}/tasks/task", json=ended)
        self.web.post(f"{job}/terminate", status=202)

    def take_azure_task(self, request):
        settings = json.loads(request.body)["environmentSettings"]
        self.assertIn(f"func-{DISPATCH}-0.pkl", [setting["value"] for setting in settings])
        self.work()
        return 201, {}, b""

    async def test_azure_runs_a_task(self):
        executor = self.azure()
        self.azure_batch(exit_code=0)
        self.assertEqual(await self.run_by(executor), 42)

    async def test_azure_tells_a_failure(self):
        executor = self.azure()
        self.azure_batch(exit_code=1)
        with self.assertRaisesRegex(Exception, "1"):
            await self.run_by(executor)

    # Google

    def google(self, state):
        bucket = "https://storage.googleapis.com"
        self.web.add_callback(
            responses.POST, re.compile(f"{bucket}/upload/storage/v1/b/bucket/o"), self.put_object
        )
        self.web.add_callback(
            responses.GET,
            re.compile(rf"{bucket}/storage/v1/b/bucket/o(\?|$)"),
            lambda _: (200, {}, json.dumps({"items": [{"name": name} for name in self.objects]})),
        )
        self.web.add_callback(
            responses.GET, re.compile(f"{bucket}/download/storage/v1/b/bucket/o/"), self.get_object
        )
        executor = GCPBatchExecutor(
            bucket_name="bucket",
            container_image_uri="image",
            service_account_email="tasks@project.iam.gserviceaccount.com",
            project_id="project",
            region="us-east1",
            time_limit=10,
            cache_dir=str(self.home),
        )
        # They ask and tell the server's database.
        executor.get_cancel_requested = mock.AsyncMock(return_value=False)
        executor.set_job_handle = mock.AsyncMock()
        return executor, GoogleBatch(self, state)

    def put_object(self, request):
        """A name and a content, as two parts of a body (multipart/related)."""
        body = request.body if isinstance(request.body, bytes) else request.body.read()
        kind = request.headers["content-type"]
        kind = kind if isinstance(kind, bytes) else kind.encode()
        boundary = re.search(rb"boundary=\"?([^\";]+)", kind)[1]
        _, about, content, _ = body.split(b"--" + boundary)
        name = json.loads(about.split(b"\r\n\r\n", 1)[1])["name"]
        self.objects[name] = content.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        return 200, {}, json.dumps({"name": name, "bucket": "bucket", "generation": "1"})

    def get_object(self, request):
        return 200, {}, self.objects[request.url.split("?")[0].rsplit("/", 1)[1]]

    async def run_on_google(self, executor, batch):
        client = storage.Client(project="project", credentials=AnonymousCredentials())
        with (
            mock.patch.object(executor, "_get_batch_client", return_value=batch),
            mock.patch("covalent_gcpbatch_plugin.gcpbatch.storage.Client", return_value=client),
        ):
            return await self.run_by(executor)

    async def test_google_runs_a_task(self):
        executor, batch = self.google(batch_v1.JobStatus.State.SUCCEEDED)
        self.assertEqual(await self.run_on_google(executor, batch), 42)

    async def test_google_tells_a_failure(self):
        self.objects[f"exception-{DISPATCH}-0.json"] = b'"division by zero"'
        executor, batch = self.google(batch_v1.JobStatus.State.FAILED)
        with self.assertRaisesRegex(RuntimeError, "division by zero"):
            await self.run_on_google(executor, batch)

    # Oracle

    def oracle(self):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        (self.home / "key.pem").write_bytes(pem)
        (self.home / "config").write_text(
            "[DEFAULT]\n"
            "user=ocid1.user.oc1..a\n"
            "tenancy=ocid1.tenancy.oc1..a\n"
            f"fingerprint={':'.join(['00'] * 16)}\n"
            "region=us-ashburn-1\n"
            f"key_file={self.home}/key.pem\n"
        )
        return OCIExecutor(
            shape="VM.Standard.E2.1",
            availability_domain="giLp:US-ASHBURN-AD-1",
            image_id="ocid1.image.oc1.iad.a",
            compartment_id="ocid1.compartment.oc1..a",
            oci_config_file=str(self.home / "config"),
            ssh_key_file=str(self.home / "ssh/key"),
        )

    def answer(self, request):
        self.assertIn('algorithm="rsa-sha256"', request.headers["authorization"])
        path = request.url.path.removeprefix("/20160918")
        self.asked.append(f"{request.method} {path}")
        instance = {"id": "i", "lifecycleState": "RUNNING"}
        answers = {
            "/instances": instance,
            "/instances/i": instance,
            "/vnicAttachments": [{"instanceId": "i", "vnicId": "v"}],
            "/vnics/v": {"id": "v", "publicIp": "192.0.2.1"},
            "/vnicAttachments/": [{"instanceId": "i", "vnicId": "v"}],
        }
        return httpx.Response(200, json=answers[path])

    async def test_oracle_launches_an_instance_and_terminates_it(self):
        """The task itself goes by SSH, as of an SSHExecutor."""
        executor = self.oracle()
        self.asked = []
        connection = mock.Mock(run=mock.AsyncMock(return_value=mock.Mock(returncode=0)))
        connection.wait_closed = mock.AsyncMock()

        async def answer(_transport, request):
            return self.answer(request)

        with (
            mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", answer),
            mock.patch.object(executor, "_client_connect", return_value=(True, connection)),
        ):
            await executor.setup(metadata(self.home))
            self.assertEqual(executor.hostname, "192.0.2.1")
            self.assertRegex((self.home / "ssh/key").read_text(), "BEGIN PRIVATE KEY")
            await executor.teardown(metadata(self.home))
        self.assertEqual(self.asked[0].split()[0], "POST")
        self.assertEqual(self.asked[-1], "DELETE /instances/i")


class GoogleBatch:
    """The client of a Batch that runs a job at once, and ends it in a given state."""

    def __init__(self, test, state):
        self.test = test
        self.state = state

    async def create_job(self, request):
        job = batch_v1.Job.deserialize(batch_v1.Job.serialize(request.job))
        variables = job.task_groups[0].task_spec.environment.variables
        self.test.assertEqual(variables["COVALENT_TASK_FUNC_FILENAME"], f"func-{DISPATCH}-0.pkl")
        if self.state == batch_v1.JobStatus.State.SUCCEEDED:
            await asyncio.to_thread(self.test.work)
        return job

    async def get_job(self, name):
        self.test.assertTrue(name.startswith("projects/project/locations/us-east1/jobs/"))
        return batch_v1.Job(status=batch_v1.JobStatus(state=self.state))


if __name__ == "__main__":
    unittest.main()
