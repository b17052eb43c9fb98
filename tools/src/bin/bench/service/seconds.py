"""How long a command takes, each time: seconds.py TIMES COMMAND..."""

import subprocess
import sys
import time


def main(times, *command):
    for _ in range(int(times)):
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        print(time.monotonic() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
