"""One task among others: what it takes down with it, what it prints, and where it asks."""

import os
import unittest

import psutil

from served import Served

ONE_IS_KILLED = """
import covalent as ct

@ct.electron(executor={executor!r})
def killed():
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)

@ct.electron(executor={executor!r})
def wait(number):
    import time
    time.sleep(1)
    return number

@ct.lattice(workflow_executor={executor!r})
def bad(): return killed()

@ct.lattice(workflow_executor={executor!r})
def good(count): return [wait(number) for number in range(count)]

before = ct.dispatch(good)(1)
first = ct.dispatch(bad)()
beside = ct.dispatch(good)(10)
results = [ct.get_result(one, wait=True) for one in (before, first, beside)]
results.append(ct.get_result(ct.dispatch(good)(1), wait=True))
print(*(result.status for result in results))
"""

ASK = """
import covalent as ct

@ct.electron(executor={executor!r})
def ask():
    {body}

@ct.lattice(workflow_executor={executor!r})
def workflow(): return ask()

result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
"""

SCORE = "return int(open('/proc/self/oom_score_adj').read())"

# How much of a worker's memory is its own.
OWN_SHARE = """import psutil
    memory = psutil.Process().memory_full_info()
    return memory.uss / memory.rss"""

WORDS = """import subprocess, sys
    print('\\u2192')
    with open('arrow', 'w') as file:
        print('\\u2192', file=file)
    with open('arrow', 'rb') as file:
        text = file.read().decode()
    command = [sys.executable, '-c', 'import sys; print(sys.flags.utf8_mode)']
    child = subprocess.run(command, capture_output=True, text=True).stdout
    return text == '\\u2192\\n', sys.flags.utf8_mode, child.strip()"""

SUBLATTICE = """
import covalent as ct

@ct.electron(executor="local")
def more(number): return number + 1

@ct.electron
@ct.lattice
def inner(number): return more(number)

@ct.lattice
def workflow(): return inner(1)

print(ct.get_result(ct.dispatch(workflow)(), wait=True).status)
"""

# Nothing answers there, and nothing that is said to it arrives.
PROXY = "http://192.0.2.1:9"


class Killed(unittest.TestCase):
    def test_a_task_that_is_killed_fails_alone(self):
        with Served() as server:
            server.start()
            for executor in ("dask", "local"):
                with self.subTest(executor=executor):
                    told = server.client(ONE_IS_KILLED.format(executor=executor), seconds=300)
                    self.assertEqual(told, "COMPLETED FAILED COMPLETED COMPLETED", server.output)
                    self.assertIsNone(server.process.poll())

    def test_the_kernel_chooses_tasks_before_the_server(self):
        with Served() as server:
            server.start()
            cluster = psutil.Process(server.process.pid).children()[0].pid
            own = {self.score(pid) for pid in (server.process.pid, cluster)}
            self.assertEqual(own, {self.score(os.getpid())})
            for executor in ("dask", "local"):
                told = server.client(ASK.format(executor=executor, body=SCORE))
                self.assertEqual(told, f"COMPLETED {min(1000, own.copy().pop() + 500)}")

    def score(self, pid):
        with open(f"/proc/{pid}/oom_score_adj") as file:
            return int(file.read())


class Memory(unittest.TestCase):
    def test_workers_share_what_each_of_them_loads(self):
        afresh = {"DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "spawn"}
        for settings, most in (({}, 0.6), (afresh, 1)):
            with self.subTest(settings=settings), Served() as server:
                server.start(**settings)
                told = server.client(ASK.format(executor="dask", body=OWN_SHARE))
                status, share = told.split()
                self.assertEqual(status, "COMPLETED")
                self.assertTrue(most - 0.4 < float(share) <= most, told)


class Words(unittest.TestCase):
    def test_any_character_can_be_printed_and_written(self):
        with Served() as server:
            server.start(LC_ALL="de_DE.ISO-8859-1", PYTHONIOENCODING="ascii")
            for executor in ("dask", "local"):
                with self.subTest(executor=executor):
                    told = server.client(ASK.format(executor=executor, body=WORDS))
                    self.assertEqual(told, "COMPLETED (True, 1, '1')")


class Proxies(unittest.TestCase):
    def test_what_is_said_to_the_server_goes_through_none(self):
        with Served() as server:
            spellings = ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY")
            server.start(**dict.fromkeys(spellings, PROXY), NO_PROXY="intranet.example")
            self.assertEqual(server.client(SUBLATTICE), "COMPLETED")


if __name__ == "__main__":
    unittest.main()
