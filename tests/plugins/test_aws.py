"""The executors of covalent-aws-plugins, against a cloud in this process (moto).

The cloud keeps objects, task definitions, jobs and functions as Amazon's does, but runs
none of them: where the executor waits for one, the test does its work. It has no Braket.
"""

import io
import os
import stat
import tempfile
import unittest
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from unittest import mock

import boto3
import covalent  # noqa: F401 - it loads the plugins, which import it
from botocore.stub import Stubber
from covalent_awsbatch_plugin.awsbatch import AWSBatchExecutor
from covalent_awslambda_plugin.awslambda import AWSLambdaExecutor
from covalent_braket_plugin.braket import BraketExecutor
from covalent_ec2_plugin.ec2 import EC2Executor
from covalent_ecs_plugin.ecs import ECSExecutor
from moto import mock_aws
from moto.batch.models import batch_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ecs.models import EC2ContainerServiceBackend, ecs_backends

from tasks import DISPATCH, carry_out, double, metadata, task

REGION = "us-east-1"
BUCKET = "tasks"
TRUST = '{"Version": "2012-10-17", "Statement": []}'
# Amazon runs no containers and no functions here, and neither does Docker.
WITHOUT_DOCKER = {"batch": {"use_docker": False}, "lambda": {"use_docker": False}}
# moto sums up what the containers ask for, which need not ask where the task does (Fargate).
FARGATE_RESOURCES = ("_calculate_task_resource_requirements", staticmethod(lambda _: {}))
# `terraform` of an EC2Executor: what it is asked, and the answers of an instance that is there.
TERRAFORM = """#!/bin/sh
echo "$*" >>"$HOME/asked"
case "$*" in
    apply*) for word; do case $word in -state=*) touch "${word#-state=}" "${word#-state=}.backup" ;; esac; done ;;
    *hostname) printf 127.0.0.1 ;;
    *username) printf ubuntu ;;
    *remote_cache) printf /tmp/covalent ;;
esac
"""


class AWS(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        stack = ExitStack()  # enterContext came with Python 3.11
        self.addCleanup(stack.close)
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        variables = {"HOME": str(self.home), "AWS_DEFAULT_REGION": REGION}
        stack.enter_context(mock.patch.dict(os.environ, variables))
        stack.enter_context(mock_aws(config=WITHOUT_DOCKER))
        stack.enter_context(mock.patch.object(EC2ContainerServiceBackend, *FARGATE_RESOURCES))
        self.s3 = boto3.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.common = {"region": REGION, "s3_bucket_name": BUCKET, "poll_freq": 1}

    def work(self):
        """Do what the container does: take the task out of the bucket, put the result into it."""
        (name,) = [entry["Key"] for entry in self.s3.list_objects(Bucket=BUCKET)["Contents"]]
        task = self.s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        self.put(f"result-{DISPATCH}-0.pkl", carry_out(task))
        self.put(f"io_output-{DISPATCH}-0.json", b'["said", "", "", ""]')

    def put(self, name, content):
        self.s3.put_object(Bucket=BUCKET, Key=name, Body=content)

    async def run_by(self, executor, after_submission):
        """Have the executor run a task; what the cloud does with it is done when it is submitted."""
        submit = executor.submit_task

        async def submit_task(*arguments):
            handle = await submit(*arguments)
            after_submission()
            return handle

        wrapped, args, kwargs = task(double, 21)
        with mock.patch.object(executor, "submit_task", submit_task):
            result = await executor.run(wrapped, args, kwargs, metadata(self.home))
        return result.get_deserialized()

    def role(self, name):
        role = boto3.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        return role["Role"]["Arn"]

    def network(self):
        ec2 = boto3.client("ec2")
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        return subnet, group

    def ecs(self):
        boto3.client("ecs").create_cluster(clusterName="cluster")
        subnet, group = self.network()
        return ECSExecutor(
            ecs_cluster_name="cluster",
            ecs_task_subnet_id=subnet,
            ecs_task_security_group_id=group,
            cache_dir=str(self.home),
            **self.common,
        )

    def end_ecs_task(self, exit_code):
        (running,) = ecs_backends[DEFAULT_ACCOUNT_ID][REGION].tasks["cluster"].values()
        running.desired_status = running.last_status = "STOPPED"
        running.containers[0].exitCode = exit_code

    async def test_ecs_runs_a_task(self):
        def work():
            self.work()
            self.end_ecs_task(0)

        self.assertEqual(await self.run_by(self.ecs(), work), 42)

    async def test_ecs_tells_a_failure(self):
        with self.assertRaisesRegex(Exception, "exit code 1"):
            await self.run_by(self.ecs(), lambda: self.end_ecs_task(1))

    def batch(self):
        batch = boto3.client("batch")
        environment = batch.create_compute_environment(
            computeEnvironmentName="environment", type="UNMANAGED", serviceRole=self.role("batch")
        )["computeEnvironmentArn"]
        batch.create_job_queue(
            jobQueueName="queue",
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        )
        executor = AWSBatchExecutor(batch_queue="queue", cache_dir=str(self.home), **self.common)
        # They ask and tell the server's database.
        executor.get_cancel_requested = mock.AsyncMock(return_value=False)
        executor.set_job_handle = mock.AsyncMock()
        return executor

    def end_batch_job(self, exit_code):
        (job,) = batch_backends[DEFAULT_ACCOUNT_ID][REGION]._jobs.values()
        job.status = "FAILED" if exit_code else "SUCCEEDED"
        details = job._container_details()  # moto forgets the exit code in them
        job._container_details = lambda: details | {"exitCode": exit_code}

    async def test_batch_runs_a_task(self):
        def work():
            self.work()
            self.end_batch_job(0)

        executor = self.batch()
        executor._task_stdout = executor._task_stderr = io.StringIO()
        self.assertEqual(await self.run_by(executor, work), 42)

    async def test_batch_tells_a_failure(self):
        def fail():
            self.put(f"io_output-{DISPATCH}-0.json", b'["", "", "division by zero", ""]')
            self.end_batch_job(1)

        executor = self.batch()
        executor._task_stdout = executor._task_stderr = io.StringIO()
        with self.assertRaisesRegex(Exception, "division by zero"):
            await self.run_by(executor, fail)

    async def test_batch_cancels_a_task(self):
        executor = self.batch()
        job = await executor.submit_task(metadata(self.home), {"Account": DEFAULT_ACCOUNT_ID})
        self.assertTrue(await executor.cancel(metadata(self.home), job))

    async def test_lambda_runs_a_task(self):
        boto3.client("lambda").create_function(
            FunctionName="function",
            Role=self.role("lambda"),
            PackageType="Image",
            Code={"ImageUri": f"{DEFAULT_ACCOUNT_ID}.dkr.ecr.{REGION}.amazonaws.com/image:latest"},
        )
        executor = AWSLambdaExecutor(function_name="function", **self.common)
        executor.cache_dir = str(self.home)
        self.assertEqual(await self.run_by(executor, self.work), 42)

    async def test_lambda_tells_a_failure(self):
        self.put(f"exception-{DISPATCH}-0.json", b'"division by zero"')
        executor = AWSLambdaExecutor(function_name="function", **self.common)
        executor.cache_dir = str(self.home)
        with mock.patch.object(executor, "submit_task", mock.AsyncMock(return_value={})):
            with self.assertRaisesRegex(RuntimeError, "division by zero"):
                wrapped, args, kwargs = task(double, 21)
                await executor.run(wrapped, args, kwargs, metadata(self.home))

    def braket(self):
        logs = boto3.client("logs")
        logs.create_log_group(logGroupName="/aws/braket/jobs")
        stream = {"logGroupName": "/aws/braket/jobs", "logStreamName": f"covalent-{DISPATCH}-0"}
        logs.create_log_stream(**stream)
        return BraketExecutor(
            ecr_image_uri="image", time_limit=60, cache_dir=str(self.home), **self.common
        )

    def braket_session(self, end):
        """A boto3.Session whose Braket checks what it is asked, and answers with the end of a job."""
        arn = f"arn:aws:braket:{REGION}:{DEFAULT_ACCOUNT_ID}:job/job"
        about = {
            "jobArn": arn,
            "roleArn": self.role("braket"),
            "jobName": "job",
            "outputDataConfig": {"s3Path": "s3://tasks/braket"},
            "algorithmSpecification": {},
            "instanceConfig": {"instanceType": "ml.m5.large", "volumeSizeInGb": 30},
            "createdAt": datetime.now(timezone.utc),
        }
        client = boto3.client("braket")
        stub = Stubber(client)
        stub.add_response("create_job", {"jobArn": arn})
        for _ in range(2):
            stub.add_response("get_job", about | end, {"jobArn": arn})
        stub.activate()
        session = mock.Mock(wraps=boto3.Session())
        session.client = lambda name: client if name == "braket" else boto3.client(name)
        return mock.patch("covalent_braket_plugin.braket.boto3.Session", return_value=session)

    async def test_braket_runs_a_task(self):
        with self.braket_session({"status": "COMPLETED"}):
            self.assertEqual(await self.run_by(self.braket(), self.work), 42)

    async def test_braket_tells_a_failure(self):
        with self.braket_session({"status": "FAILED", "failureReason": "division by zero"}):
            with self.assertRaisesRegex(Exception, "division by zero"):
                await self.run_by(self.braket(), lambda: None)

    async def test_ec2_makes_an_instance_and_takes_it_away(self):
        """The task itself goes by SSH, as of an SSHExecutor."""
        (self.home / "terraform").write_text(TERRAFORM)
        (self.home / "terraform").chmod(stat.S_IRWXU)
        executor = EC2Executor(region=REGION, profile="default")
        with (
            mock.patch.dict(os.environ, {"PATH": f"{self.home}:{os.environ['PATH']}"}),
            mock.patch.object(EC2Executor, "_TF_DIR", str(self.home)),
            mock.patch.object(EC2Executor, "boto_session_options", return_value={}),
        ):
            await executor.setup(metadata(self.home))
            pairs = boto3.client("ec2").describe_key_pairs()["KeyPairs"]
            self.assertEqual([pair["KeyName"] for pair in pairs], [executor.key_name])
            key = Path(executor.ssh_key_file).read_text()
            self.assertRegex(key, "BEGIN .*PRIVATE KEY")
            self.assertEqual((executor.username, executor.hostname), ("ubuntu", "127.0.0.1"))
            await executor.teardown(metadata(self.home))
        asked = [line.split()[0] for line in (self.home / "asked").read_text().splitlines()]
        self.assertEqual(asked, ["init", "apply", *["output"] * 3, "destroy"])


if __name__ == "__main__":
    unittest.main()
