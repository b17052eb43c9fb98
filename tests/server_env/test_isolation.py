"""What tasks leave behind runs nothing in the launcher, and reads no address of the database."""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import unittest
from pathlib import Path

from served import Served, wait_for

# An executor that notes where the word is that it has been left to look for.
SPY = """
import json, os
from pathlib import Path

def read(file):
    try:
        return open(file, "rb").read()
    except OSError:
        return b""

word = {word!r}.encode()
places = {{
    "variables": repr(dict(os.environ)).encode(),
    "environ": read("/proc/self/environ"),
    "cmdline": read("/proc/self/cmdline"),
}}
for number in os.listdir("/proc/self/fd"):
    if "memfd" in os.path.realpath(f"/proc/self/fd/{{number}}"):
        places[number] = read(f"/proc/self/fd/{{number}}")
known = [place for place, text in places.items() if word in text]
Path({report!r}).write_text(json.dumps([len(places), known]))
"""

TRAP = """
with open({report!r}, "a") as file:
    print(__file__, file=file)
"""

ASK_THE_SERVER = """
import covalent as ct

@ct.electron(executor="local")
def ask():
    from covalent_dispatcher._db.datastore import workflow_db
    return str(workflow_db.engine.url)

@ct.lattice(workflow_executor="local")
def workflow(): return ask()

print(ct.get_result(ct.dispatch(workflow)(), wait=True).result)
"""


def spy(home, word):
    """Leave it where Covalent looks; return where it notes what it found."""
    report = home / "report"
    file = home / ".config/covalent/executor_plugins/spy.py"
    file.parent.mkdir(parents=True)
    file.write_text(SPY.format(word=word, report=str(report)))
    return report


class Address(unittest.TestCase):
    def start(self, server):
        """As covalentctl does, which hands the address over in an open file."""
        secret = os.memfd_create("secret")
        self.addCleanup(os.close, secret)
        os.write(secret, f"sqlite+pysqlite:///{server.home}/s3cret.db".encode())
        os.lseek(secret, 0, os.SEEK_SET)
        server.descriptors = (secret,)
        server.start(COVALENT_DATABASE_URL_FD=str(secret), COVALENT_DISABLE_DASK="1")
        self.assertTrue((server.home / "s3cret.db").exists())

    def test_covalent_still_imports_executors_beside_it(self):
        with tempfile.TemporaryDirectory() as home:
            report = spy(Path(home), "s3cret")
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", "import covalent_dispatcher._db.datastore"],
                env={"HOME": home, "COVALENT_DATABASE_URL": f"sqlite:///{home}/s3cret.db"},
                check=True,
                timeout=60,
            )
            self.assertEqual(json.loads(report.read_text())[1], ["variables", "environ"])

    def test_no_executor_finds_it_in_what_the_process_was_given(self):
        with Served() as server:
            report = spy(server.home, "s3cret")
            self.start(server)
            places, known = json.loads(report.read_text())
            self.assertGreaterEqual(places, 3)
            self.assertEqual(known, [])

    def test_what_is_not_kept_apart(self):
        """A task of the local executor is a fork of the server, which has to know its database."""
        with Served() as server:
            self.start(server)
            self.assertIn("s3cret", server.client(ASK_THE_SERVER))


class LeftBehind(unittest.TestCase):
    def traps(self, home):
        """Wherever Python looks for code by itself, below what the account can write."""
        report = home / "trapped"
        trap = TRAP.format(report=str(report))
        version = f"python{sysconfig.get_python_version()}"
        folders = [
            home / "run",
            home / f"site/lib/{version}/site-packages",
            home / f".local/lib/{version}/site-packages",
        ]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            for module in (
                "sitecustomize",
                "usercustomize",
                "multiprocessing",
                "pickle",
                "toml",
                "json",
            ):
                (folder / f"{module}.py").write_text(trap)
            (folder / "trap.pth").write_text(f"import os; open({str(report)!r}, 'a').close()\n")
        return report, os.pathsep.join(map(str, folders))

    def test_code_of_tasks_does_not_run_in_the_launcher_nor_as_it_starts_others(self):
        with Served() as server:
            report, path = self.traps(server.home)
            server.start(PYTHONPATH=path)
            server.client(ASK_THE_SERVER)
            self.assertFalse(report.exists())

    def test_it_would_in_a_python_that_is_not_isolated(self):
        with Served() as server:
            report, path = self.traps(server.home)
            server.options = ("-u",)
            server.launch(PYTHONPATH=path)
            wait_for(report.exists)

    def test_packages_for_tasks_are_found_where_the_administrator_has_them(self):
        with Served(COVALENT_DISABLE_DASK="1") as server:
            (server.home / "mine").mkdir()
            (server.home / "mine/helper.py").write_text("ANSWER = 42\n")
            executor = server.home / ".config/covalent/executor_plugins/mine.py"
            executor.parent.mkdir(parents=True)
            executor.write_text(f"import helper; open('{server.home}/found', 'w')\n")
            server.start(PYTHONPATH=str(server.home / "mine"))
            self.assertTrue((server.home / "found").exists())


if __name__ == "__main__":
    unittest.main()
