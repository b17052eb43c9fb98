"""Makes a small wheel: wheel.py DIRECTORY NAME VERSION [--requires REQUIREMENT]... [--plugin CODE].

The module NAME has a VERSION and a command of the same name that prints it. With --plugin it is
an executor plugin of Covalent whose module runs CODE when it is imported.
"""

import argparse
import base64
import hashlib
from pathlib import Path
from zipfile import ZipFile


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("name")
    parser.add_argument("version")
    parser.add_argument("--requires", action="append", default=[])
    parser.add_argument("--plugin")
    options = parser.parse_args()

    module = options.name.replace("-", "_")
    metadata = f"{module}-{options.version}.dist-info"
    groups = f"[console_scripts]\n{options.name} = {module}:main\n"
    code = f'VERSION = "{options.version}"\n\n\ndef main():\n    print(VERSION)\n'
    if options.plugin:
        groups += f"[covalent.executor.executor_plugins]\n{module} = {module}\n"
        code += f"\n\n{options.plugin}\n"
    requires = "".join(f"Requires-Dist: {requirement}\n" for requirement in options.requires)
    head = f"Metadata-Version: 2.1\nName: {options.name}\nVersion: {options.version}\n"
    files = {
        f"{module}.py": code,
        f"{metadata}/METADATA": head + requires,
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{metadata}/entry_points.txt": groups,
    }
    record = "".join(f"{name},{digest(text)},{len(text)}\n" for name, text in files.items())
    files[f"{metadata}/RECORD"] = f"{record}{metadata}/RECORD,,\n"

    options.directory.mkdir(parents=True, exist_ok=True)
    wheel = options.directory / f"{module}-{options.version}-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def digest(text: str) -> str:
    value = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={value.decode().rstrip('=')}"


if __name__ == "__main__":
    main()
