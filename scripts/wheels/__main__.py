"""Fetch and build the wheels of the lock; scripts/wheelhouse runs this."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import licences
import lock
from choice import NEWEST_GLIBC, PLATFORMS, Wheel, choose
from lock import PYTHONS, Pin

LOCK = Path("requirements/covalent.lock")
SHIPPED_LOCK = Path("target/covalent.lock")
BUILT = Path("target/wheels")
WHEELHOUSE = Path("target/wheelhouse")
UV = Path("target/uv")
LICENCES = Path("target/wheels-licences.txt")
SUMMARY = Path("target/wheels-summary.txt")

# The index has the source only, of SQLAlchemy 1.4 for Python 3.13 and newer. Its
# C extensions are optional: without them one wheel serves every Python, and the
# older ones prefer the binary wheels that they have. Values: the build's variables.
BUILT_HERE = {"covalent": {}, "sqlalchemy": {"DISABLE_SQLALCHEMY_CEXT": "1"}}

# The date of the files in the wheels built here (2025-05-20). It is fixed, for a
# wheel whose hash changes changes the lock that is shipped, and a changed lock
# has every machine build its environment anew.
WHEEL_DATE = {"SOURCE_DATE_EPOCH": "1747699200"}

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def main() -> None:
    copy_uv()
    pins = lock.read(LOCK)
    with tempfile.TemporaryDirectory() as scratch:
        built = build([pin for pin in pins if pin.name in BUILT_HERE], Path(scratch))
        wheels = select(pins, Path(scratch))
        download(wheels, Path(scratch))
        SHIPPED_LOCK.write_text(lock.with_hashes(LOCK, built))
        check(Path(scratch))
    LICENCES.write_text(licences.report([*BUILT.iterdir(), *WHEELHOUSE.iterdir()]))
    SUMMARY.write_text(summary(wheels))


def copy_uv() -> None:
    """Take uv and its licences from the wheel that pip has checked and installed."""
    shutil.rmtree(UV, ignore_errors=True)
    UV.mkdir(parents=True)
    for file in importlib.metadata.files("uv") or []:
        if file.name == "uv" or "licenses" in file.parts:
            shutil.copy(file.locate(), UV)


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
        variables = WHEEL_DATE | BUILT_HERE[pin.name]
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


def select(pins: list[Pin], scratch: Path) -> list[Wheel]:
    """Choose among the wheels that the index has and the lock allows."""
    listing = scratch / "pylock.toml"
    options = ["--quiet", "--universal", f"--python-version={PYTHONS[0]}", "--no-deps"]
    run(UV / "uv", "pip", "compile", *options, "--format=pylock.toml", LOCK, "-o", listing)
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


def download(wheels: list[Wheel], scratch: Path) -> None:
    """Leave exactly these wheels in the wheelhouse, their hashes checked."""
    WHEELHOUSE.mkdir(exist_ok=True)
    hashes = {wheel.file: wheel.sha256 for wheel in wheels}
    for file in WHEELHOUSE.iterdir():
        if hashes.get(file.name) != digest(file):
            file.unlink()
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp"]
    options += [f"--platform={platform}" for platform in PLATFORMS]
    for python in PYTHONS:
        missing = [w for w in wheels if python in w.pythons and not (WHEELHOUSE / w.file).exists()]
        if missing:
            say(f"downloading {len(missing)} wheels (Python {python})")
            wanted = scratch / "wanted.txt"
            wanted.write_text("".join(wheel.pin.line([wheel.sha256]) for wheel in missing))
            abis = [f"--abi={abi}" for abi in ("cp" + python.replace(".", ""), "abi3", "none")]
            target = [f"--python-version={python}", *abis]
            run(*PIP, "download", *options, *target, "-r", wanted, "-d", WHEELHOUSE)


def check(scratch: Path) -> None:
    """Have uv find all that each Python needs, without an index and without building."""
    options = ["--dry-run", "--no-config", "--no-cache", "--offline", "--no-index", "--no-build"]
    options += [f"--find-links={BUILT}", f"--find-links={WHEELHOUSE}", "--require-hashes"]
    for python in PYTHONS:
        target = [f"--python-version={python}", f"--python-platform=x86_64-manylinux_2_{NEWEST_GLIBC}"]
        run(UV / "uv", "pip", "sync", *options, *target, "--target", scratch / python, SHIPPED_LOCK)


def summary(wheels: list[Wheel]) -> str:
    """How many wheels there are, how big, and what each Python adds."""
    common = [wheel for wheel in wheels if wheel.pythons == PYTHONS]
    lines = [_count("for every Python", common)]
    for python in PYTHONS:
        own = [wheel for wheel in wheels if python in wheel.pythons and wheel not in common]
        alone = [wheel for wheel in own if wheel.pythons == [python]]
        lines.append(_count(f"Python {python} adds", own) + _count(", no other needs", alone))
    size = sum(file.stat().st_size for file in BUILT.iterdir()) / 1e6
    lines.append(_count("target/wheelhouse", wheels))
    lines.append(f"target/wheels      {len(BUILT_HERE):3} wheels {size:5.1f} MB")
    return "".join(line + "\n" for line in lines)


def _count(title: str, wheels: list[Wheel]) -> str:
    size = sum((WHEELHOUSE / wheel.file).stat().st_size for wheel in wheels) / 1e6
    return f"{title:18} {len(wheels):3} wheels {size:5.1f} MB"


def digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def run(*command: str | Path, **variables: str) -> None:
    """Run a command that is quiet when it succeeds, and shown whole when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nscripts/wheelhouse: exit status {done.returncode} of {' '.join(words)}")


def say(message: str) -> None:
    print(f"scripts/wheelhouse: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
