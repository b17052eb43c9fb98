"""The locks of the server's environment and of plugins, as uv wrote them."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


@dataclass(frozen=True)
class Pin:
    """One entry of a lock: a version, which Pythons it is for, the files it may be."""

    name: str
    version: str
    pythons: list[str]
    hashes: list[str]

    def line(self, hashes: list[str]) -> str:
        """The pin as a requirement that lets pip take no file but these."""
        return (
            " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{h}" for h in hashes)])
            + "\n"
        )


def read(lock: Path) -> list[Pin]:
    """The pins that any of our Pythons needs on x86-64 Linux."""
    pins = []
    text = re.sub(r"^ *#.*\n", "", lock.read_text(), flags=re.MULTILINE)
    for line in filter(None, text.replace("\\\n", "").splitlines()):
        requirement = Requirement(line.split("--hash")[0])
        marker = requirement.marker
        pythons = [p for p in PYTHONS if not marker or marker.evaluate(_environment(p))]
        if pythons:
            version = str(requirement.specifier).removeprefix("==")
            pins.append(Pin(requirement.name, version, pythons, re.findall(r"sha256:(\w+)", line)))
    return pins


def merge(locks: list[list[Pin]]) -> list[Pin]:
    """The pins of several locks that agree: each once, for every Python of any lock."""
    merged: dict[tuple[str, str], Pin] = {}
    for pin in (pin for pins in locks for pin in pins):
        known = merged.get((pin.name, pin.version), pin)
        pythons = [python for python in PYTHONS if python in {*known.pythons, *pin.pythons}]
        merged[pin.name, pin.version] = replace(pin, pythons=pythons)
    return list(merged.values())


def with_hashes(lock: Path, added: dict[str, str]) -> str:
    """The lock's text, in which these packages may be one more file each."""
    text = ""
    for line in lock.read_text().splitlines(keepends=True):
        text += line
        name = line.split("==")[0]
        if name in added:
            text += f"    --hash=sha256:{added[name]} \\\n"
    return text


def _environment(python: str) -> dict[str, str]:
    """The values of the environment markers (PEP 508) on a target machine."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
