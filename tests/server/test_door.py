"""Root reaches what the account of the service can change by one door, src/unprivileged/.

Tasks share the account. So every other place in src/ that becomes an account, or that opens or changes
something by its path where the account's paths are known, is named here with the reason why it may.
"""

import re
import unittest

import launcher

SOURCES = launcher.DIRECTORY.parent / "src"
DOOR = "unprivileged/"

# What runs a program as somebody else, or in a unit of its own.
BECOMES = re.compile(
    r'\.(?:uid|gid|groups)\([^)]|"(?:setpriv|runuser|su|systemd-run|setsid|script)"'
)

# Paths that the account can change, or a name in a folder of the account's.
ACCOUNTS = re.compile(
    r"\.(?:data|interrupted|unproven|database_copy|fleet_report|offered_lock|drain_mark)\(|places\.(?:data|data_as_set|configuration)|Database::File"
)

# What opens, makes, moves, removes or gives away something by its path.
BY_PATH = re.compile(
    r"\bfs::(?:read|read_to_string|read_dir|write|copy|rename|hard_link|remove_\w+|create_dir\w*|"
    r"set_permissions|read_link|canonicalize)\(|\bFile::(?:open|create\w*|options)\(|\bl?chown\(|\bsymlink\(|"
    r"\.canonicalize\(\)|\bfile::(?:read(?:_text)?|write(?:_for)?|remove|make_folder|replace_with_link)\(|"
    r"\brustix::fs::(?:open|mkdir|unlink|rename|link|symlink|chown|chmod)at\w*\(|"
    r"\btemp(?:dir|file)(?:_in)?\(|\bDirBuilder\b"
)

# In the files where paths of the account's are known: how many of them there are, and why.
ALLOWED = {
    "data/backup/arrival.rs": (
        7,
        "in folders that only root can change (Actor::Caller): all else is done by a child, and "
        "settings of /etc",
    ),
    "cli/status/mod.rs": (
        1,
        "/proc/PID/cmdline of the server, of which a generation's name is taken",
    ),
    "data/backup/create.rs": (
        10,
        "in /var/backups, in root's staging folder, and the archive: a new file, opened once",
    ),
    "data/backup/archive.rs": (1, "the archive that root was given"),
    "service/drain.rs": (
        2,
        "the mark of a drain, in a folder of the account's whose own place is root's: an empty file gets "
        "that name or loses it, and no link is followed",
    ),
    "service/serve.rs": (
        3,
        "/run/covalent, where no systemd makes it; the packages' version, in /usr/share",
    ),
    "environment/server_lock.rs": (
        6,
        "the fleet's authority in /etc, and root's own lock and its time in /var/lib/covalentctl; what the "
        "account offers is read through the door",
    ),
    "adoption/in_place.rs": (
        2,
        "resolves links; whoever takes it over looks at every folder on the way",
    ),
    "adoption/elsewhere.rs": (6, "a file in a folder of root's, which is the owner's to write"),
    "doctor/files.rs": (
        4,
        "lists root's own folders, reads root's requirement files, and resolves links to see whether "
        "they lead out of the home",
    ),
    "service/starts.rs": (8, "root's own notes in /run/covalentctl and /var/lib/covalentctl"),
}


def code(text):
    """Without tests and comments."""
    text = text.split("#[cfg(test)]")[0]
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//"))


def trespassers(sources):
    """What goes past the door, by the names of the files."""
    found = []
    for name, text in sources.items():
        if name.startswith(DOOR):
            continue
        text = code(text)
        found += [f"{name} becomes somebody: {match[0]}" for match in BECOMES.finditer(text)]
        if name not in ALLOWED and not ACCOUNTS.search(text):
            continue
        uses = BY_PATH.findall(text)
        allowed, _reason = ALLOWED.get(name, (0, ""))
        if len(uses) != allowed:
            found.append(
                f"{name} opens or changes by path {len(uses)} times, not {allowed}: {uses}"
            )
    return found


class Door(unittest.TestCase):
    def sources(self):
        return {str(path.relative_to(SOURCES)): path.read_text() for path in SOURCES.rglob("*.rs")}

    def test_nothing_goes_past_it(self):
        self.assertEqual(trespassers(self.sources()), [])

    def test_whatever_would_is_found(self):
        plants = {
            "a child as the account": "fn ask() { inner.uid(account.uid).gid(account.gid); }",
            "a program that becomes it": 'Command::new("runuser", LIMIT)',
            "a file of the account's by its name": "fs::read(host.unproven())",
            "a link beside the database": "if let Database::File(file) = d { fs::hard_link(file, b) }",
            "a folder given away": "chown(places.data, Some(uid), None)",
            "a draft beside the database": "tempfile_in(places.data)",
        }
        for what, plant in plants.items():
            with self.subTest(what):
                self.assertNotEqual(trespassers({"data/planted.rs": plant}), [])
                self.assertEqual(trespassers({f"{DOOR}planted.rs": plant}), [])

    def test_it_is_there(self):
        door = "".join(text for name, text in self.sources().items() if name.startswith(DOOR))
        self.assertTrue(BECOMES.search(door))
        self.assertTrue(set(ALLOWED) <= set(self.sources()))


if __name__ == "__main__":
    unittest.main()
