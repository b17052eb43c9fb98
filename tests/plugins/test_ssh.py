"""The executors that reach another machine by SSH, against an SSH server in this process."""

import asyncio
import os
import stat
import sys
import tempfile
import unittest
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from unittest import mock

import asyncssh
import covalent  # noqa: F401 - it loads the plugins, which import it
import psij
from covalent_hpc_plugin.hpc import HPCExecutor
from covalent_slurm_plugin.slurm import SlurmExecutor
from covalent_ssh_plugin.ssh import SSHExecutor

from tasks import double, metadata, task

# Slurm's commands, for jobs that have ended when they are submitted. What a job script
# says of its output stands in lines like "#SBATCH --output=file".
SLURM = {
    "sbatch": r"""
option() { sed -n "s/^#SBATCH --$1=//p" "$2" | tr -d '"'; }
output=$(option output "$1")
error=$(option error "$1")
cd "$(option chdir "$1")" || exit
if bash "$1" >"${output:-/dev/null}" 2>"${error:-/dev/null}"
then echo COMPLETED CD; else echo FAILED F; fi >"$HOME/state"
echo 17
""",
    "scontrol": 'read -r state _ <"$HOME/state"; echo "JobState=$state"',
    "squeue": 'read -r _ state <"$HOME/state"; echo ID ST REASON; echo "17 $state NonZeroExitCode"',
}


class SSH(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        stack = ExitStack()  # enterContext came with Python 3.11
        self.addCleanup(stack.close)
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(mock.patch.dict(os.environ, {"HOME": str(self.home)}))
        before = os.getcwd()
        os.chdir(self.home)
        self.addCleanup(os.chdir, before)
        self.key = self.home / ".ssh/id_ed25519"
        self.key.parent.mkdir()
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(self.key)
        key.write_public_key(self.home / ".ssh/authorized_keys")
        self.server = await asyncssh.create_server(
            asyncssh.SSHServer,
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=str(self.home / ".ssh/authorized_keys"),
            process_factory=self.run_command,
            sftp_factory=True,
            allow_scp=True,
        )
        commands = self.home / "slurm"
        commands.mkdir()
        for name, text in SLURM.items():
            (commands / name).write_text(f"#!/bin/bash\n{text}")
            (commands / name).chmod(stat.S_IRWXU)
        # The executors take no port.
        (self.home / ".ssh/config").write_text(f"Host *\n  Port {self.server.get_port()}\n")

    async def asyncTearDown(self):
        # Not waiting for its connections: where a task fails, the executors leave theirs open.
        self.server.close()

    async def run_command(self, process):
        """As sshd does: in the home folder, by the account's shell."""
        child = await asyncio.create_subprocess_exec(
            "/bin/bash",
            "-c",
            process.command,
            cwd=self.home,
            env=os.environ | {"PATH": f"{self.home}/slurm:{os.environ['PATH']}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await child.communicate()
        process.stdout.write(stdout.decode())
        process.stderr.write(stderr.decode())
        process.exit(child.returncode)

    async def run_by(self, executor, function, argument):
        wrapped, args, kwargs = task(function, argument)
        about = metadata(self.home / "results")
        result = await executor.run(wrapped, args, kwargs, about)
        await executor.teardown(about)
        return result.get_deserialized()

    def ssh(self, **arguments):
        return SSHExecutor(
            username="someone",
            hostname="127.0.0.1",
            ssh_key_file=str(self.key),
            cache_dir=str(self.home),
            python_path=sys.executable,
            **arguments,
        )

    async def test_ssh_returns_the_result_of_another_process(self):
        executor = self.ssh()
        self.assertEqual(await self.run_by(executor, double, 21), 42)
        self.assertNotEqual(await self.run_by(executor, lambda _: os.getpid(), 0), os.getpid())
        self.assertEqual(list(self.home.glob(".cache/covalent/*.p*")), [])

    async def test_ssh_raises_what_the_task_raises(self):
        with self.assertRaises(ZeroDivisionError):
            await self.run_by(self.ssh(), lambda number: 1 / number, 0)

    async def test_ssh_refuses_without_a_key(self):
        executor = self.ssh()
        executor.ssh_key_file = str(self.home / "none")
        with self.assertRaisesRegex(RuntimeError, "does not exist"):
            await self.run_by(executor, double, 21)

    def slurm(self, **arguments):
        return SlurmExecutor(
            username="someone",
            address="127.0.0.1",
            ssh_key_file=str(self.key),
            remote_workdir=str(self.home / "work"),
            cache_dir=str(self.home / "cache"),
            slurm_path=str(self.home / "slurm"),
            use_srun=False,
            bashrc_path="",
            **arguments,
        )

    # The job's script activates a conda environment, in whose place here is that of the tests.
    async def test_slurm_submits_a_job_and_returns_its_result(self):
        with mock.patch("covalent_slurm_plugin.job_script.JobScript.conda_env_setup", ""):
            self.assertEqual(await self.run_by(self.slurm(), double, 21), 42)
        self.assertEqual(list((self.home / "work").iterdir()), [])

    async def test_slurm_raises_what_stopped_the_job(self):
        with mock.patch("covalent_slurm_plugin.job_script.JobScript.conda_env_setup", "exit 3"):
            with self.assertRaises(RuntimeError):
                await self.run_by(self.slurm(), double, 21)

    async def test_hpc_submits_a_job_and_returns_its_result(self):
        """The remote machine has PSI/J of its own: here that of the tests."""
        executor = HPCExecutor(
            username="someone",
            address="127.0.0.1",
            ssh_key_file=str(self.key),
            instance="slurm",
            remote_python_exe=sys.executable,
            remote_workdir=str(self.home / "work"),
            cache_dir=str(self.home),
        )
        self.assertEqual(await self.run_by(executor, double, 21), 42)

    def test_psij_runs_a_process(self):
        """What of PSI/J uses psutil."""
        job = psij.Job(psij.JobSpec(executable="/bin/true"))
        psij.JobExecutor.get_instance("local").submit(job)
        status = job.wait(timeout=timedelta(seconds=30))
        self.assertEqual(status.state, psij.JobState.COMPLETED)


if __name__ == "__main__":
    unittest.main()
