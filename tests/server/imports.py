"""Which file of a source tree uses which other one, read off its `use` and `import` lines."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

Uses = dict[Path, set[Path]]
"""Paths below the tree's root, each with those that it uses."""

UNREAD = re.compile(r'\'"\'|//.*|"(?s:\\.|[^"\\])*"|^(pub(\(\w+\))? )?mod \w+;', re.MULTILINE)
TESTS = re.compile(r"#\[cfg\(test\)\]\s*(pub(\(\w+\))? )?mod \w+ \{")
USE = re.compile(r"^(?P<public>pub(\([\w ]+\))? )?use (?P<tree>[^;]+);", re.MULTILINE)
PATH = re.compile(r"(?<![\w:.])[a-z_]\w*(::\w+)+")


def circles(uses: Uses) -> list[str]:
    """Each folder whose entries use one another in a circle, with the files that close it."""
    found = []
    for folder in sorted({folder for path in uses for folder in path.parents}):
        reasons: dict[tuple[str, str], str] = {}
        graph: dict[str, set[str]] = {}
        for path, others in uses.items():
            for other in others:
                if folder in path.parents and folder in other.parents:
                    ends = (entry(folder, path), entry(folder, other))
                    if ends[0] != ends[1]:
                        graph.setdefault(ends[0], set()).add(ends[1])
                        reasons.setdefault(ends, f"{path} uses {other}")
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = error.args[1][:0:-1]
            first = circle.index(min(circle))
            circle = circle[first:] + circle[: first + 1]
            found.append(", ".join(reasons[ends] for ends in zip(circle, circle[1:])))
    return found


def entry(folder: Path, path: Path) -> str:
    """The file or folder in `folder` that `path` is, or is in."""
    return path.relative_to(folder).parts[0]


def python(root: Path) -> Uses:
    """The uses among Python's modules. Imports within a function count as well."""
    modules = {module(path): path for path in files(root, "py")}
    uses: Uses = {}
    for path in modules.values():
        names = set()
        for node in ast.walk(ast.parse((root / path).read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module or ""} | {
                    f"{node.module}.{alias.name}" for alias in node.names
                }
        uses[path] = {modules[name] for name in names if name in modules} - {path}
    return uses


def module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def rust(root: Path) -> Uses:
    """The uses among the files of a crate but for those of its tests.

    What a module only passes on (`pub use`) it does not use; whoever takes it from there uses the
    file that has it. A call of a method names no file, and is not seen.
    """
    crate = Crate(root)
    return {path: crate.uses(modules) for modules, path in crate.paths.items()}


class Crate:
    """Rust's modules, named by the parts of their paths."""

    def __init__(self, root: Path) -> None:
        self.paths = {self._name(path): path for path in files(root, "rs")}
        self.texts, self.passed = {}, {}
        for name, path in self.paths.items():
            text = UNREAD.sub("", TESTS.split((root / path).read_text())[0])
            self.texts[name] = USE.sub("", text)
            self.passed[name] = {}
            self.texts[name] += "".join(self._imports(name, text))

    def _name(self, path: Path) -> tuple[str, ...]:
        parts = path.with_suffix("").parts
        return parts[:-1] if parts[-1] in ("mod", "lib") else parts

    def _imports(self, name: tuple[str, ...], text: str) -> Iterator[str]:
        """The paths of `use` lines, a line each; those of `pub use` are noted instead."""
        for use in USE.finditer(text):
            for path in expanded(re.sub(r"\s+", "", use["tree"])):
                last = path.rpartition("::")[2]
                self.passed[name][last] = path
                if not use["public"] or re.search(rf"\b{last}\b", self.texts[name]):
                    yield f"\n{path}"

    def uses(self, name: tuple[str, ...]) -> set[Path]:
        paths = (use[0].split("::") for use in PATH.finditer(self.texts[name]))
        found = {self._file(name, path) for path in paths}
        return {path for path in found if path} - {self.paths[name]}

    def _file(self, name: tuple[str, ...], path: list[str]) -> Path | None:
        """The file that has what `path` means in the module `name`; none outside the crate."""
        at = name
        for step, part in enumerate(path):
            if part == "crate":
                at = ()
            elif part == "super":
                at = at[:-1]
            elif at + (part,) in self.paths:
                at += (part,)
            elif part != "self":
                if step == 0:
                    return None
                passed = self.passed.get(at, {}).get(part)
                return self._file(at, passed.split("::")) if passed else self.paths.get(at)
        return self.paths.get(at)


def expanded(tree: str) -> Iterator[str]:
    """`a::{b, c::d}` as `a::b` and `a::c::d`, without names that `as` gives."""
    start, brace, rest = tree.partition("{")
    if not brace:
        yield tree.partition(" as ")[0]
        return
    depth, word = 0, ""
    for letter in rest[:-1]:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            yield from expanded(start + word)
            word = ""
        else:
            word += letter
    if word:
        yield from expanded(start + word)


def files(root: Path, extension: str) -> list[Path]:
    return [path.relative_to(root) for path in sorted(root.rglob(f"*.{extension}"))]
