"""Fetch and build the wheels of the lock; scripts/wheelhouse runs this."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import tomllib

import licences
import lock
from choice import NEWEST_GLIBC, PLATFORMS, Wheel, choose
from lock import PYTHONS, Pin

LOCK = Path("requirements/covalent.lock")
PLUGIN_LOCKS = Path("requirements/plugins")
SHIPPED_LOCK = Path("target/covalent.lock")
SHIPPED_PLUGIN_LOCKS = Path("target/plugins")
BUILT = Path("target/wheels")
WHEELHOUSE = Path("target/wheelhouse")
PLUGIN_WHEELHOUSE = Path("target/plugin-wheelhouse")
UV = Path("target/uv")
LICENCES = Path("target/wheels-licences.txt")
PLUGIN_LICENCES = Path("target/plugin-wheels-licences.txt")
SUMMARY = Path("target/wheels-summary.txt")

# The index has the source only, of SQLAlchemy 1.4 for Python 3.13 and newer. Its
# C extensions are optional: without them one wheel serves every Python, and the
# older ones prefer the binary wheels that they have. Values: the build's variables.
BUILT_HERE = {"sqlalchemy": {"DISABLE_SQLALCHEMY_CEXT": "1"}}

# The date of the files in the wheels built here (2025-05-20). It is fixed, for a
# wheel whose hash changes changes the lock that is shipped, and a changed lock
# has every machine build its environment anew.
WHEEL_DATE = {"SOURCE_DATE_EPOCH": "1747699200"}

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def main() -> None:
    copy_uv()
    server = lock.read(LOCK)
    plugins = {path.stem: lock.read(path) for path in sorted(PLUGIN_LOCKS.glob("*.lock"))}
    with tempfile.TemporaryDirectory() as scratch:
        every = lock.merge([server, *plugins.values()])
        built = build([pin for pin in every if is_built_here(pin)], Path(scratch))
        wheels = select(server, [LOCK], Path(scratch))
        plugin_wheels = beyond(wheels, select_for(plugins, Path(scratch)))
        download(wheels, WHEELHOUSE, Path(scratch))
        download(plugin_wheels, PLUGIN_WHEELHOUSE, Path(scratch))
        ship_locks(plugins, built)
        check([SHIPPED_LOCK], [BUILT, WHEELHOUSE], Path(scratch))
        locks = [SHIPPED_LOCK, *sorted(SHIPPED_PLUGIN_LOCKS.iterdir())]
        check(locks, [BUILT, WHEELHOUSE, PLUGIN_WHEELHOUSE], Path(scratch))
    LICENCES.write_text(licences_of(BUILT, WHEELHOUSE))
    PLUGIN_LICENCES.write_text(licences_of(PLUGIN_WHEELHOUSE))
    SUMMARY.write_text(summary(wheels) + plugin_summary(plugins, plugin_wheels))


def copy_uv() -> None:
    """Take uv and its licences from the wheel that pip has checked and installed."""
    shutil.rmtree(UV, ignore_errors=True)
    UV.mkdir(parents=True)
    for file in importlib.metadata.files("uv") or []:
        if file.name == "uv" or "licenses" in file.parts:
            shutil.copy(file.locate(), UV)


def is_built_here(pin: Pin) -> bool:
    """Of Covalent and of its plugins the index has the source only."""
    return pin.name in BUILT_HERE or pin.name.startswith("covalent")


def build(pins: list[Pin], scratch: Path) -> dict[str, str]:
    """Build these packages from source; the hashes of their wheels, by package."""
    shutil.rmtree(BUILT, ignore_errors=True)
    BUILT.mkdir()
    hashes = {}
    for pin in pins:
        say(f"building {pin.name} {pin.version}")
        wanted, made = scratch / "wanted.txt", scratch / pin.name
        wanted.write_text(pin.line(pin.hashes))
        options = ["--no-deps", "--require-hashes", "--no-cache-dir", "--no-binary=:all:"]
        variables = WHEEL_DATE | BUILT_HERE.get(pin.name, {})
        run(*PIP, "wheel", *options, "--no-build-isolation", "-r", wanted, "-w", made, **variables)
        wheel = shutil.move(as_pure(next(made.iterdir())), BUILT)
        hashes[pin.name] = digest(Path(wheel))
    return hashes


def as_pure(wheel: Path) -> Path:
    """Rename a wheel without compiled code to what it is: one for any Python."""
    compiled = [name for name in ZipFile(wheel).namelist() if re.search(r"\.so\b", name)]
    if compiled:
        sys.exit(f"{wheel.name} should hold no compiled code, but has {', '.join(compiled)}")
    tags = ["--python-tag=py3", "--abi-tag=none", "--platform-tag=any"]
    run(sys.executable, "-m", "wheel", "tags", "--remove", *tags, wheel, **WHEEL_DATE)
    return next(wheel.parent.iterdir())


def select_for(plugins: dict[str, list[Pin]], scratch: Path) -> list[Wheel]:
    """The wheels of any of these plugins."""
    locks = [PLUGIN_LOCKS / f"{name}.lock" for name in plugins]
    return select(lock.merge(list(plugins.values())), locks, scratch)


def beyond(wheels: list[Wheel], more: list[Wheel]) -> list[Wheel]:
    """Those of `more` that are not among `wheels`."""
    files = {wheel.file for wheel in wheels}
    return [wheel for wheel in more if wheel.file not in files]


def select(pins: list[Pin], locks: list[Path], scratch: Path) -> list[Wheel]:
    """Choose among the wheels that the index has and the locks allow."""
    listing = scratch / "pylock.toml"
    options = ["--quiet", "--universal", f"--python-version={PYTHONS[0]}", "--no-deps"]
    listing.unlink(missing_ok=True)  # uv would keep to what stands in it
    run(UV / "uv", "pip", "compile", *options, "--format=pylock.toml", *locks, "-o", listing)
    offered = {
        (package["name"], package["version"]): {
            wheel["hashes"]["sha256"]: wheel["url"].rsplit("/", 1)[1]
            for wheel in package.get("wheels", [])
        }
        for package in tomllib.loads(listing.read_text())["packages"]
    }
    wheels = []
    for pin in pins:
        files = offered[pin.name, pin.version]
        wheels += choose(pin, {h: file for h, file in files.items() if h in pin.hashes})
    return wheels


def download(wheels: list[Wheel], folder: Path, scratch: Path) -> None:
    """Leave exactly these wheels in the folder, their hashes checked."""
    folder.mkdir(exist_ok=True)
    hashes = {wheel.file: wheel.sha256 for wheel in wheels}
    for file in folder.iterdir():
        if hashes.get(file.name) != digest(file):
            file.unlink()
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp"]
    options += [f"--platform={platform}" for platform in PLATFORMS]
    for python in PYTHONS:
        missing = [w for w in wheels if python in w.pythons and not (folder / w.file).exists()]
        if missing:
            say(f"downloading {len(missing)} wheels (Python {python})")
            wanted = scratch / "wanted.txt"
            wanted.write_text("".join(wheel.pin.line([wheel.sha256]) for wheel in missing))
            abis = [f"--abi={abi}" for abi in ("cp" + python.replace(".", ""), "abi3", "none")]
            target = [f"--python-version={python}", *abis]
            run(*PIP, "download", *options, *target, "-r", wanted, "-d", folder)


def ship_locks(plugins: Iterable[str], built: dict[str, str]) -> None:
    """Write the locks that the packages hold, with the hashes of what was built here."""
    SHIPPED_LOCK.write_text(lock.with_hashes(LOCK, built))
    shutil.rmtree(SHIPPED_PLUGIN_LOCKS, ignore_errors=True)
    SHIPPED_PLUGIN_LOCKS.mkdir()
    for name in plugins:
        text = lock.with_hashes(PLUGIN_LOCKS / f"{name}.lock", built)
        (SHIPPED_PLUGIN_LOCKS / f"{name}.lock").write_text(text)


def check(locks: list[Path], folders: list[Path], scratch: Path) -> None:
    """Have uv find all that each Python needs, without an index and without building."""
    options = ["--dry-run", "--no-config", "--no-cache", "--offline", "--no-index", "--no-build"]
    options += [*(f"--find-links={folder}" for folder in folders), "--require-hashes"]
    for python in PYTHONS:
        target = [
            f"--python-version={python}",
            f"--python-platform=x86_64-manylinux_2_{NEWEST_GLIBC}",
        ]
        run(UV / "uv", "pip", "sync", *options, *target, "--target", scratch / python, *locks)


def licences_of(*folders: Path) -> str:
    introduction = (
        "The Python packages in these wheels, and the licence that each declares. The\n"
        "texts of the licences follow, as the wheels hold them.\n"
    )
    wheels = (wheel for folder in folders for wheel in folder.iterdir())
    return licences.report(introduction, map(licences.in_wheel, wheels))


def summary(wheels: list[Wheel]) -> str:
    """How many wheels there are, how big, and what each Python adds."""
    common = [wheel for wheel in wheels if wheel.pythons == PYTHONS]
    lines = [_count("for every Python", common)]
    for python in PYTHONS:
        own = [wheel for wheel in wheels if python in wheel.pythons and wheel not in common]
        alone = [wheel for wheel in own if wheel.pythons == [python]]
        lines.append(_count(f"Python {python} adds", own) + _count(", no other needs", alone))
    built = list(BUILT.iterdir())
    lines.append(_count("target/wheelhouse", wheels))
    lines.append(f"target/wheels      {len(built):3} wheels {sum(map(_size, built)) / 1e6:5.1f} MB")
    return "".join(line + "\n" for line in lines)


def plugin_summary(plugins: dict[str, list[Pin]], wheels: list[Wheel]) -> str:
    """What the plugins need beyond the server's wheels: all of them, and each."""
    lines = [_count("target/plugin-wheelhouse  ", wheels)]
    for name, pins in plugins.items():
        names = {pin.name for pin in pins}
        lines.append(_count(f"{name:26}", [wheel for wheel in wheels if wheel.pin.name in names]))
    return "".join(line + "\n" for line in lines)


def _count(title: str, wheels: list[Wheel]) -> str:
    places = [folder / wheel.file for wheel in wheels for folder in (WHEELHOUSE, PLUGIN_WHEELHOUSE)]
    size = sum(_size(file) for file in places if file.exists()) / 1e6
    return f"{title:18} {len(wheels):3} wheels {size:5.1f} MB"


def _size(file: Path) -> int:
    return file.stat().st_size


def digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def run(*command: str | Path, **variables: str) -> None:
    """Run a command that is quiet when it succeeds, and shown whole when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(
            f"{done.stdout}\nscripts/wheelhouse: exit status {done.returncode} of {' '.join(words)}"
        )


def say(message: str) -> None:
    print(f"scripts/wheelhouse: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
