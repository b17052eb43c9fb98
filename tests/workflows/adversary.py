"""What the account of the service does to whatever root starts: adversary.py dispatch|here.

As a task that an ordinary user dispatches, or as a process of the account. It goes on until the file
`stop` is in its folder, and writes there, as JSON, how often it tried what (`attempts.json`) and what
it got (`successes.json`). tests/machines/adversary.rs lays out what can be got, starts the same things
without protection to see that it is got then, and looks at what only root can see.
"""

import sys

FOLDER = "/var/lib/covalent/adversary"


def attack(folder):
    """All in one function, so that it travels with the task."""
    import collections
    import glob
    import json
    import os
    import time

    home = "/var/lib/covalent"
    attempts, successes = collections.Counter(), collections.Counter()
    known = {}

    def read_a_home(process):
        return open(f"{process}/root/home/alice/secret").read()

    def read_the_settings(process):
        return open(f"{process}/root/etc/covalent/covalent.env").read()

    def reach_the_machines_tmp(process):
        return os.stat(f"{process}/root/tmp/of-the-machine")

    def reach_the_terminal_of_root(process):
        with open(f"{folder}/terminal") as file:
            terminal = file.read().strip()  # as tests/machines/adversary.rs says
        for file in glob.glob(f"{process}/fd/*"):
            if os.readlink(file) == terminal:
                return file
        number = int(open(f"{process}/stat").read().rpartition(")")[2].split()[4])
        if number and f"/dev/pts/{os.minor(number)}" == terminal:
            return number
        raise OSError("another one, or none")

    def reach_a_file_of_roots(process):
        for file in glob.glob(f"{process}/fd/*"):
            target = os.readlink(file)
            if target.startswith(("/var/lib/covalentctl", "/var/backups", "/root", "/home")):
                return target
        raise OSError("none")

    def learn_a_secret(process):
        if b"s3cret" in open(f"{process}/environ", "rb").read():
            return "in its environment"
        raise OSError("none")

    hunts = (
        read_a_home,
        read_the_settings,
        reach_the_machines_tmp,
        reach_the_terminal_of_root,
        reach_a_file_of_roots,
        learn_a_secret,
    )

    def hunt():
        mine = os.readlink("/proc/self/ns/mnt"), os.getpid()
        for number in filter(str.isdigit, os.listdir("/proc")):
            process = f"/proc/{number}"
            try:
                namespace = os.readlink(f"{process}/ns/mnt")
            except OSError:
                continue  # somebody else's, or gone
            # Just started, it may not have its variables yet.
            seen = known.get((process, namespace), 0)
            if seen == 5 or process == f"/proc/{mine[1]}":
                continue
            if namespace == mine[0] and os.path.exists(f"{folder}/as-task"):
                continue  # the server, and other tasks
            try:
                program = open(f"{process}/cmdline").read()
            except OSError:
                continue
            if folder in program or not program:
                continue  # this one's parent, the test's own, or not started yet
            attempts["children seen"] += seen == 0
            for attempt in hunts:
                attempts[attempt.__name__] += 1
                try:
                    attempt(process)
                except OSError:
                    continue
                successes[attempt.__name__] += 1
                print(attempt.__name__, repr(program), flush=True)
            known[process, namespace] = seen + 1

    targets = ("/root/secret", "/etc/shadow", f"{folder}/pipe", f"{folder}/plain")
    names = ["interrupted.json", "database.aa.pgdump", "adversary/folder"]
    if os.path.exists(f"{folder}/as-task"):
        names.append("unproven")  # else the server is to write it
    places = [f"{home}/{name}" for name in names]

    def lead_astray(turn):
        for place in places:
            attempts["lead_astray"] += 1
            try:
                os.symlink(targets[turn % len(targets)], place + ".next")
                os.replace(place + ".next", place)
            except OSError:
                pass  # another one of these is at work

    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(f"{folder}/pipe"):
        os.mkfifo(f"{folder}/pipe")
    with open(f"{folder}/plain", "w") as file:
        json.dump(
            {
                "when": "2099-01-01T00:00:00Z",
                "workflows": [
                    {
                        "dispatch_id": "a\x1b]0;owned\x07",
                        "lattice_name": "b\x1b[31m\nservice  active",
                    }
                ],
            },
            file,
        )
    turn, written = 0, 0.0
    while not os.path.exists(f"{folder}/stop"):
        hunt()
        lead_astray(turn)
        turn += 1
        if time.monotonic() - written > 0.5:
            written = time.monotonic()
            for name, counts in (("attempts", attempts), ("successes", successes)):
                with open(f"{folder}/{name}.new", "w") as file:
                    json.dump(counts, file)
                os.replace(f"{folder}/{name}.new", f"{folder}/{name}.json")
        # What is hunted lives for longer than this, and whoever is hunted gets on.
        time.sleep(0.005)
    return dict(attempts), dict(successes)


if __name__ == "__main__":
    if sys.argv[1:] == ["here"]:
        attack(FOLDER)
    else:
        import covalent as ct

        task = ct.electron(attack)
        workflow = ct.lattice(lambda folder: task(folder))
        workflow.__name__ = "evil\x1b]0;owned\x07\nservice  active"
        print(ct.dispatch(workflow)(FOLDER))
