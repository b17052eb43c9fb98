"""A workflow whose task runs on another machine: ssh.py USER HOST KEY. Prints the result."""

import sys

import covalent as ct

user, host, key = sys.argv[1:]
executor = ct.executor.SSHExecutor(
    username=user,
    hostname=host,
    ssh_key_file=key,
    python_path="/opt/virtualenvs/covalent/bin/python",
    poll_freq=1,
)


@ct.electron(executor=executor)
def who():
    import getpass
    import os

    return [getpass.getuser(), os.environ["SSH_CONNECTION"].split()[2]]


@ct.lattice
def workflow():
    return who()


if __name__ == "__main__":
    result = ct.get_result(ct.dispatch(workflow)(), wait=True)
    print(result.status, result.result, result.error or "")
    raise SystemExit(result.result != [user, host])
