"""How long a unit takes to start or restart: answers.py PORT UNIT VERB

Prints the seconds from `systemctl VERB UNIT` to the first answer of the process that it starts. Not to the
first answer after a silence: who asks a server that keeps its port waits, and notices no restart.
"""

import http.client
import subprocess
import sys
import time

# From the database, unlike "/".
QUESTION = "/api/v1/dispatches/list?count=1"
LIMIT = 180  # seconds
INTERVAL = 0.02  # seconds between two questions


def answers(port):
    connection = http.client.HTTPConnection("localhost", port, timeout=LIMIT)
    try:
        connection.request("GET", QUESTION)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main_process(unit):
    command = ["systemctl", "show", "--property=MainPID", "--value", unit]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main(port, unit, verb):
    before = {"0", main_process(unit)}
    began = time.monotonic()
    process = subprocess.Popen(["systemctl", verb, unit])
    while main_process(unit) in before or not answers(int(port)):
        if time.monotonic() - began > LIMIT:
            sys.exit(f"systemctl {verb} {unit} has not led to an answer within {LIMIT} s")
        time.sleep(INTERVAL)
    answered = time.monotonic() - began
    if process.wait(LIMIT):
        sys.exit(f"systemctl {verb} {unit} ended with {process.returncode}")
    print(answered)


if __name__ == "__main__":
    main(*sys.argv[1:])
