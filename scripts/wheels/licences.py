"""The licences of what the packages hold of others: Python packages in wheels, crates in covalentctl."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

# By name, wherever it lies: some packages hold others, with a licence of their own.
LICENCE_FILE = re.compile(
    r"(^|/)(licen[sc]e|copying|notice|copyright)[^/]*$|\.dist-info/licenses/|\.license\.txt$",
    re.IGNORECASE,
)
CODE = (".py", ".pyi", ".pyc", ".rs", ".so", "/")


@dataclass(frozen=True)
class Licensed:
    """Somebody's work: "NAME VERSION", the licence that it declares, its licence files with their texts."""

    name: str
    declared: str
    texts: dict[str, str]


def in_wheel(path: Path) -> Licensed:
    """The Python package of a wheel."""
    with ZipFile(path) as wheel:
        names = wheel.namelist()
        metadata = next(n for n in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        about = message_from_bytes(wheel.read(metadata))
        texts = {name: _text(wheel.read(name)) for name in names if _holds_a_licence(name)}
    return Licensed(f"{about['Name']} {about['Version']}", declared(about), texts)


def in_crate(name: str, licence: str, folder: Path) -> Licensed:
    """The crate whose sources are in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)): path for path in files}
    return Licensed(
        name,
        licence,
        {n: _text(path.read_bytes()) for n, path in names.items() if _holds_a_licence(n)},
    )


def report(introduction: str, works: Iterable[Licensed]) -> str:
    """A line for each work, then each licence text once, after the files it was in."""
    lines = set()
    sources = defaultdict(set)
    for work in works:
        missing = "" if work.texts else " (it holds no text of it)"
        lines.add(f"{work.name}: {work.declared}{missing}\n")
        for file, text in work.texts.items():
            sources[text].add(f"{work.name}: {file}\n")
    parts = [introduction, "\n", *sorted(lines, key=str.lower)]
    for text, files in sorted(sources.items(), key=lambda item: sorted(item[1])):
        parts += ["\n", "=" * 79, "\n", *sorted(files), "-" * 79, "\n", text, "\n"]
    return "".join(parts)


def _holds_a_licence(name: str) -> bool:
    return LICENCE_FILE.search(name) is not None and not name.endswith(CODE)


def _text(content: bytes) -> str:
    return content.decode(errors="replace").replace("\r\n", "\n").strip("\n")


def declared(about: Message) -> str:
    """What the metadata says, in the most exact of the ways that it has for this."""
    licences = [c for c in about.get_all("Classifier", []) if c.startswith("License ::")]
    classified = ", ".join(c.split(" :: ")[-1] for c in licences)
    return about["License-Expression"] or classified or about["License"] or "(only its text)"
