//! A machine in a folder, with a uv and a Python that answer and do no more.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

/// Answers as uv does, and notes each call; `sync` fails with the words of the file `uv-fails`,
/// `compile` knows the versions in the folder `index`, a file for each package, and a question to
/// the index fails with the words of the file `index-fails`.
const UV: &str = r#"#!/usr/bin/python3
import base64, hashlib, os, re, shutil, sys
from pathlib import Path

root = Path(__file__).parents[3]
with (root / "uv-calls").open("a") as calls:
    print(*sys.argv[1:], file=calls)
arguments = sys.argv[3:]  # --color never
option = lambda name: arguments[arguments.index(name) + 1]
site = lambda environment: environment / "lib/python3.11/site-packages"
pins = lambda text: dict(re.findall(r"^(\S+)==(\S+)", text, re.M))

if arguments[0] == "venv":
    environment = Path(arguments[-1])
    (environment / "bin").mkdir(parents=True)
    site(environment).mkdir(parents=True)
    (environment / "bin/python").symlink_to(option("--python"))
elif arguments[1] == "sync":
    if (root / "uv-fails").exists():
        sys.exit((root / "uv-fails").read_text())
    packages = site(Path(option("--python")).parent.parent)
    files = [Path(word) for word in arguments if word.endswith((".lock", ".txt"))]
    wanted = {}
    for file in files:
        wanted |= pins(file.read_text())
    names = {f"{name}-{version}.dist-info" for name, version in wanted.items()}
    entries = list(packages.glob("*.dist-info"))
    there = {entry.name.lower().replace("_", "-"): entry for entry in entries}
    for name in names - there.keys():
        if name.startswith("by-hand"):
            sys.exit("Because by-hand was not found in the provided package locations")
        (packages / name).mkdir()
        if name != "covalent-0.240.0.dist-info":
            continue  # what it holds is not known, so the server may notice it
        module = packages / "covalent.py"
        module.write_text(f"version = '{name}'")
        digest = base64.urlsafe_b64encode(hashlib.sha256(module.read_bytes()).digest())
        line = f"{module.name},sha256={digest.decode().strip('=')},{module.stat().st_size}\n"
        (packages / name / "RECORD").write_text(line)
    for name in there.keys() - names:
        shutil.rmtree(there[name])
elif arguments[1] == "compile" and "--quiet" in arguments:
    if (root / "index-fails").exists():
        sys.exit((root / "index-fails").read_text())
elif arguments[1] == "compile":
    output = Path(option("--output-file"))
    preferred = pins(output.read_text())
    files = [word for word in arguments[arguments.index("--output-file") + 2 :]]
    files = [word for n, word in enumerate(files) if word != "--constraints" and files[n - 1] != "--constraints"]
    with output.open("w") as lock:
        for line in "\n".join(Path(file).read_text() for file in files).split("\n"):
            name = re.match(r"[A-Za-z0-9-]*", line)[0].lower()
            index = root / "index" / name
            if "<0" in line:
                sys.exit(f"No solution found: you require {line} and {name}==1, they are unsatisfiable")
            if name and "/" not in line:
                known = index.read_text() if index.exists() else "1.0"
                print(f"{name}=={preferred.get(name, known)} \\\n    --hash=sha256:{0:064}", file=lock)
"#;

/// Answers as Python does, to the probe and to the verification.
pub const PYTHON: &str = r#"#!/bin/sh
case "$*" in
    *compile.py*) echo "compile $#" >> "$(dirname "$0")/../../compilations" ;;
    *alembic_version* | *snapshot.py*) exec /usr/bin/python3 "$@" ;;
    *verify.py*) echo '{"covalent": "0.240.0", "executors": ["dask", "local"]}' ;;
    *implementation*)
        echo '{"implementation": "cpython", "version": [3, 11, 2], "abi": "x", "missing": []}' ;;
esac
"#;

pub struct Tree(tempfile::TempDir);

impl Tree {
    pub fn new() -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        tree.program("usr/libexec/covalent/uv", UV);
        tree.program("usr/bin/python3", PYTHON);
        tree.write(
            "usr/share/covalent/covalent.lock",
            "covalent==0.240.0 \\\n    --hash=sha256:aa\n",
        );
        tree.write("usr/share/covalent/wheelhouse/x.whl", "");
        fs::create_dir_all(tree.path("opt")).unwrap();
        let launcher = "usr/libexec/covalent/server";
        let snapshot = include_str!("../../server/snapshot.py");
        tree.write(&format!("{launcher}/snapshot.py"), snapshot);
        let postgresql = include_str!("../../server/covalent_service/postgresql.py");
        let module = format!("{launcher}/covalent_service/postgresql.py");
        tree.write(&module, postgresql);
        tree
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn write(&self, path: &str, content: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn program(&self, path: &str, content: &str) {
        let path = self.write(path, content);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes a database of that revision with one workflow in it.
    pub fn database(&self, path: &str, revision: &str, workflow: &str) {
        let file = self.write(path, "");
        let statements = format!(
            "CREATE TABLE alembic_version (version_num TEXT); \
             INSERT INTO alembic_version VALUES ('{revision}'); \
             CREATE TABLE lattices (name TEXT); INSERT INTO lattices VALUES ('{workflow}')"
        );
        sqlite(&file, &statements);
    }

    /// Changes a field of the manifest of an environment.
    pub fn edit_manifest(&self, environment: &Path, field: &str, value: &str) {
        let file = environment.join("manifest.json");
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        manifest[field] = value.into();
        fs::write(&file, manifest.to_string()).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_covalentctl"));
        command
            .args(arguments)
            .env("COVALENTCTL_ROOT", self.0.path());
        command
    }

    pub fn covalentctl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.covalentctl(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned() + &said
    }

    pub fn refused(&self, arguments: &[&str], status: i32) -> String {
        let output = self.covalentctl(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        said
    }

    pub fn active(&self) -> PathBuf {
        fs::read_link(self.path("opt/virtualenvs/covalent")).unwrap()
    }

    /// The folder of the active environment.
    pub fn environment(&self) -> PathBuf {
        self.path("opt/virtualenvs").join(self.active())
    }

    /// The folder of its packages.
    pub fn site_packages(&self) -> PathBuf {
        self.environment().join("lib/python3.11/site-packages")
    }

    /// The packages in it, as `name-version`, sorted.
    pub fn packages(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.site_packages())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".dist-info").map(String::from))
            .collect();
        names.sort();
        names
    }

    pub fn generations(&self) -> usize {
        fs::read_dir(self.path("opt/virtualenvs/.covalent"))
            .unwrap()
            .count()
    }

    pub fn uv_calls(&self) -> usize {
        fs::read_to_string(self.path("uv-calls"))
            .unwrap()
            .lines()
            .count()
    }
}

/// Answers every question as Covalent's API does when a workflow runs; returns the port.
pub fn busy_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Whoever closes before all is read resets the connection.
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let body =
                r#"{"dispatches": [{"dispatch_id": "a", "root_dispatch_id": "a", "name": "w"}]}"#;
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n{body}").unwrap();
        }
    });
    port
}

/// Identifiers hold the second in which a generation was made.
pub fn next_second() {
    thread::sleep(std::time::Duration::from_millis(1100));
}

/// What Python's sqlite3 prints of the last statement.
pub fn sqlite(file: &Path, statements: &str) -> String {
    let script = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as database:\n    \
                  for statement in sys.argv[2].split(';'):\n        \
                  for row in database.execute(statement):\n            print(*row)";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(file)
        .arg(statements)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
