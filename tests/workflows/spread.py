"""A workflow of COUNT tasks that each take SECONDS: on which machines they have run.

    ENVIRONMENT/bin/python spread.py COUNT SECONDS

prints `ID …` as soon as it is dispatched, and its status with the machines when it has ended. Each task
has a line in the file `begun` of its machine as often as it begins there.
"""

import sys

import covalent as ct


@ct.electron
def work(number, seconds):
    import socket
    import time

    with open("begun", "a") as file:
        print(number, file=file)
    time.sleep(seconds)
    return socket.gethostname()


@ct.lattice
def workflow(count, seconds):
    return [work(number, seconds) for number in range(count)]


def main():
    dispatch_id = ct.dispatch(workflow)(int(sys.argv[1]), float(sys.argv[2]))
    print("ID", dispatch_id, flush=True)
    result = ct.get_result(dispatch_id, wait=True)
    print(result.status, *sorted(set(result.result or [])))


if __name__ == "__main__":
    main()
