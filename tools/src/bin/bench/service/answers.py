"""How long a command leaves a server silent: answers.py PORT COMMAND...

Prints the seconds from the command's start to the first answer after the silence that it makes.
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
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    try:
        connection.request("GET", QUESTION)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main(port, *command):
    began = time.monotonic()
    process = subprocess.Popen(command)
    for wanted in (False, True):
        while answers(int(port)) is not wanted:
            if time.monotonic() - began > LIMIT:
                sys.exit(f"{command} has not led to {wanted} within {LIMIT} s")
            time.sleep(INTERVAL)
    answered = time.monotonic() - began
    if process.wait(LIMIT):
        sys.exit(f"{command} ended with {process.returncode}")
    print(answered)


if __name__ == "__main__":
    main(*sys.argv[1:])
