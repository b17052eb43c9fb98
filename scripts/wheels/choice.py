"""Which of the wheels on the index a wheelhouse needs."""

from collections import defaultdict
from dataclasses import dataclass

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from lock import Pin

# glibc 2.28 is Enterprise Linux 8's, the oldest of the systems we build for.
NEWEST_GLIBC = 28
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(NEWEST_GLIBC, 4, -1)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]


@dataclass(frozen=True)
class Wheel:
    """A wheel of the index, and the Pythons that will use it."""

    pin: Pin
    file: str
    sha256: str
    pythons: list[str]


def choose(pin: Pin, offered: dict[str, str]) -> list[Wheel]:
    """The fewest wheels that give each Python its pin, of those offered (file by hash).

    One for all of them if there is one (for the stable ABI, else in pure Python),
    even where there are faster ones for a single version: five builds of aiohttp,
    multidict, websockets and the like are 16 MB for nothing that Covalent notices.
    """
    ranks = {python: _ranks(python, offered) for python in pin.pythons}
    shared = set.intersection(*(set(rank) for rank in ranks.values()))
    users = defaultdict(list)
    for python, rank in ranks.items():
        if rank:
            users[min(shared or rank, key=rank.__getitem__)].append(python)
    return [Wheel(pin, offered[sha256], sha256, pythons) for sha256, pythons in users.items()]


def _ranks(python: str, offered: dict[str, str]) -> dict[str, int]:
    """The wheels (by hash) that a Python can use; the smallest number is the best."""
    place = {tag: place for place, tag in enumerate(_tags(python))}
    ranks = {}
    for sha256, file in offered.items():
        places = [place[tag] for tag in parse_wheel_filename(file)[3] if tag in place]
        if places:
            ranks[sha256] = min(places)
    return ranks


def _tags(python: str) -> list[Tag]:
    """The tags that a Python takes, the best first (PEP 425)."""
    major, minor = (int(part) for part in python.split("."))
    interpreter = f"cp{major}{minor}"
    return [
        *cpython_tags((major, minor), [interpreter], PLATFORMS),
        *compatible_tags((major, minor), interpreter, PLATFORMS),
    ]
