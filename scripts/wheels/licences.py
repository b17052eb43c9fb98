"""The licences of the packages in a set of wheels."""

import re
from collections import defaultdict
from collections.abc import Iterable
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

# By name, wherever it lies: some packages hold others, with a licence of their own.
LICENCE_FILE = re.compile(
    r"(^|/)(licen[sc]e|copying|notice|copyright)[^/]*$|\.dist-info/licenses/|\.license\.txt$",
    re.IGNORECASE,
)
CODE = (".py", ".pyi", ".pyc", ".so", "/")


def report(wheels: Iterable[Path]) -> str:
    """A line for each package, then each licence text once, after the files it was in."""
    declared = {}
    sources = defaultdict(set)
    for path in wheels:
        with ZipFile(path) as wheel:
            names = wheel.namelist()
            metadata = next(n for n in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
            about = message_from_bytes(wheel.read(metadata))
            package = f"{about['Name']} {about['Version']}"
            texts = 0
            for name in names:
                if LICENCE_FILE.search(name) and not name.endswith(CODE):
                    text = wheel.read(name).decode(errors="replace").replace("\r\n", "\n").strip("\n")
                    sources[text].add(f"{package}: {name}\n")
                    texts += 1
            missing = "" if texts else " (its wheel holds no text of it)"
            declared[package] = f"{package}: {_declared(about)}{missing}\n"
    parts = [
        "The Python packages in these wheels, and the licence that each declares. The\n"
        "texts of the licences follow, as the wheels hold them.\n\n",
        *sorted(declared.values(), key=str.lower),
    ]
    for text, files in sorted(sources.items(), key=lambda item: sorted(item[1])):
        parts += ["\n", "=" * 79, "\n", *sorted(files), "-" * 79, "\n", text, "\n"]
    return "".join(parts)


def _declared(about: Message) -> str:
    """What the metadata says, in the most exact of the ways that it has for this."""
    licences = [c for c in about.get_all("Classifier", []) if c.startswith("License ::")]
    classified = ", ".join(c.split(" :: ")[-1] for c in licences)
    return about["License-Expression"] or classified or about["License"] or "(only its text)"
