import io
import os
import tarfile
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import launcher  # noqa: F401
from covalent_service.tar import UnsafeMember, safe, with_tar_filter

# As Python 3.11.2 has it: without any filter.
plain = tarfile.TarFile.extractall
if hasattr(tarfile, "fully_trusted_filter"):

    def plain(archive, path=".", members=None, *, numeric_owner=False):
        tarfile.TarFile.extractall(
            archive, path, members, numeric_owner=numeric_owner, filter="fully_trusted"
        )


extractall = with_tar_filter(plain)


def member(name, kind=tarfile.REGTYPE, link="", mode=0o644, content=b""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(content)
    return info, io.BytesIO(content)


def archive_of(*members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, content)
    file.seek(0)
    return tarfile.open(fileobj=file)


class TarFilter(unittest.TestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name).resolve()
        self.inside = self.root / "inside"
        self.inside.mkdir()

    def extract(self, *members, filter="tar"):
        with archive_of(*members) as archive:
            extractall(archive, path=str(self.inside), filter=filter)

    def assert_refused(self, *members):
        with self.assertRaises(UnsafeMember):
            self.extract(*members)
        self.assertEqual(os.listdir(self.root), ["inside"])

    def test_ordinary_members(self):
        self.extract(
            member("a", tarfile.DIRTYPE, mode=0o755),
            member("a/b", content=b"text"),
        )
        self.assertEqual((self.inside / "a/b").read_bytes(), b"text")

    def test_leading_slashes_are_stripped(self):
        name = f"{self.root}/absolute"
        self.extract(member(name, content=b"text"))
        self.assertEqual((self.inside / name.lstrip("/")).read_bytes(), b"text")
        self.assertEqual(os.listdir(self.root), ["inside"])

    def test_high_bits_and_foreign_write_permission_are_cleared(self):
        self.extract(member("file", mode=0o6777))
        self.assertEqual((self.inside / "file").stat().st_mode & 0o7777, 0o755)

    def test_outside_is_refused(self):
        self.assert_refused(member("../file"))
        self.assert_refused(member("a/../../file"))

    def test_directory_whose_name_only_begins_alike_is_outside(self):
        self.assert_refused(member("../inside-too/file"))

    def test_whatever_is_no_file_and_no_folder_is_refused_wherever_it_leads(self):
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            for link in ("../target", "/etc/passwd", "file", ""):
                with self.subTest(kind=kind, link=link):
                    self.assert_refused(member("file"), member("link", kind, link=link))

    def test_nothing_is_written_through_a_chain_of_links_too_long_to_follow(self):
        """CVE-2025-4517: a path that is longer than PATH_MAX looks as if it led nowhere."""
        folder, chain, path = "d" * 247, [], ""
        for name in "abcdefghijklmnop":
            chain.append(member(os.path.join(path, folder), tarfile.DIRTYPE, mode=0o755))
            chain.append(member(os.path.join(path, name), tarfile.SYMTYPE, link=folder))
            path = os.path.join(path, folder)
        link = os.path.join(*"abcdefghijklmnop", "l" * 254)
        chain.append(member(link, tarfile.SYMTYPE, link="../" * 16))
        chain.append(member("out", tarfile.SYMTYPE, link=f"{link}/../outside"))
        chain.append(member("out", content=b"text"))
        self.assert_refused(*chain)

    def test_without_a_filter_nothing_is_changed(self):
        self.extract(member("file", mode=0o666), filter=None)
        self.assertEqual((self.inside / "file").stat().st_mode & 0o777, 0o666)

    def test_unknown_filter(self):
        with self.assertRaises(ValueError):
            self.extract(member("file"), filter="data")

    @unittest.skipUnless(hasattr(tarfile, "tar_filter"), "this Python has no filter to compare")
    def test_refuses_what_pythons_own_filter_refuses(self):
        for name in ("../file", "a/../../file", "/../file"):
            with self.subTest(name=name):
                info = member(name)[0]
                with self.assertRaises(tarfile.FilterError):
                    tarfile.tar_filter(info, str(self.inside))
                with self.assertRaises(UnsafeMember):
                    list(safe([info]))


if __name__ == "__main__":
    unittest.main()
