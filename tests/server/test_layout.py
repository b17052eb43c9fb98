"""Files and folders use one another in one direction only: docs/development.md."""

import tempfile
import unittest
from pathlib import Path

import imports

PROJECT = Path(__file__).parents[2]


class Layout(unittest.TestCase):
    def test_no_files_and_no_folders_use_one_another_in_a_circle(self) -> None:
        for root, read in (
            ("src", imports.rust),
            ("repository/src", imports.rust),
            ("server", imports.python),
        ):
            with self.subTest(root):
                uses = read(PROJECT / root)
                self.assertGreater(sum(map(len, uses.values())), 10)
                self.assertEqual(imports.circles(uses), [])


class Planted(unittest.TestCase):
    """The test above finds a circle where there is one."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def circles(self) -> list[str]:
        return imports.circles(imports.rust(self.root))

    def test_of_files(self) -> None:
        self.write(
            {
                "a.rs": "use crate::b::{self, B};\nuse std::fs;",
                "b.rs": "use super::c;",
                "c.rs": "fn f() { crate::a::f() }",
            }
        )
        self.assertEqual(self.circles(), ["a.rs uses b.rs, b.rs uses c.rs, c.rs uses a.rs"])
        self.write({"c.rs": "// crate::a\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}"})
        self.assertEqual(self.circles(), [])

    def test_of_folders_whose_files_have_none(self) -> None:
        self.write({"x/mod.rs": "", "x/a.rs": "use crate::y::b;", "x/c.rs": "", "y/mod.rs": ""})
        self.write({"y/b.rs": "use crate::x::{\n    c,\n};"})
        self.assertEqual(self.circles(), ["x/a.rs uses y/b.rs, y/b.rs uses x/c.rs"])

    def test_of_a_module_and_the_one_around_it(self) -> None:
        self.write({"x/mod.rs": "mod a;\nfn f() { a::g() }", "x/a.rs": "use super::f;"})
        self.assertEqual(self.circles(), ["x/a.rs uses x/mod.rs, x/mod.rs uses x/a.rs"])
        # What is only passed on is not used.
        self.write({"x/mod.rs": "mod a;\npub use self::a::g;"})
        self.assertEqual(self.circles(), [])

    def test_through_what_a_module_passes_on(self) -> None:
        self.write(
            {
                "x/mod.rs": "mod a;\npub use a::g;",
                "x/a.rs": "use crate::b;",
                "b.rs": "use crate::x::g;",
            }
        )
        self.assertEqual(self.circles(), ["b.rs uses x/a.rs, x/a.rs uses b.rs"])

    def test_of_python(self) -> None:
        self.write({"p/a.py": "from p import b", "p/b.py": "def f():\n    from p.a import c"})
        found = imports.circles(imports.python(self.root))
        self.assertEqual(found, ["p/a.py uses p/b.py, p/b.py uses p/a.py"])


if __name__ == "__main__":
    unittest.main()
