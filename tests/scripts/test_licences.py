"""Which crates may be in covalentctl, and what the packages say of their licences."""

import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.dont_write_bytecode = True

_loader = SourceFileLoader("sbom", str(SCRIPTS / "sbom"))
_spec = spec_from_loader("sbom", _loader)
sbom = module_from_spec(_spec)
_loader.exec_module(sbom)


class Accepted(unittest.TestCase):
    def test_one_alternative_of_each_part_is_enough(self):
        for licence, accepted in (
            ("MIT", True),
            ("GPL-3.0-only OR MIT", True),
            ("GPL-3.0-only", False),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
            ("(MIT OR Apache-2.0) AND GPL-3.0-only", False),
            ("Apache-2.0 WITH LLVM-exception", False),
        ):
            with self.subTest(licence):
                self.assertEqual(sbom.is_accepted(licence), accepted)


class Report(unittest.TestCase):
    def test_a_text_is_shown_once_and_who_has_none_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("one", "two", "three"):
                Path(folder, name).mkdir()
            Path(folder, "one/LICENSE-MIT").write_text("You may.\n")
            Path(folder, "two/LICENSE").write_bytes(b"You may.\r\n")
            Path(folder, "three/licence.rs").write_text("fn may() {}\n")
            works = [
                sbom.licences.in_crate(name, "MIT", Path(folder, name))
                for name in ("one", "two", "three")
            ]
        report = sbom.licences.report("These are inside.\n", works)
        self.assertTrue(report.startswith("These are inside.\n\none: MIT\n"), report)
        self.assertIn("\nthree: MIT (it holds no text of it)\n", report)
        self.assertEqual(report.count("You may."), 1)
        self.assertIn("\none: LICENSE-MIT\ntwo: LICENSE\n", report)


if __name__ == "__main__":
    unittest.main()
