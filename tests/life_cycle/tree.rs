//! A machine in a folder, with the real uv, the real Python, and small wheels for Covalent and others.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

use sha2::{Digest, Sha256};

/// Runs the real uv, whose path is `@UV@`, and notes each call. It asks no index but the folder `index`.
/// What a test can't bring about is played: `sync` fails with the words of the file `uv-fails`, and
/// doctor's question to the index is answered, or fails with the words of the file `index-fails`.
const UV: &str = r#"#!/bin/sh
root=${0%/usr/libexec/covalent/uv}
echo "$*" >>"$root/uv-calls"
fail() {
    cat "$1" >&2
    exit 2
}
case " $* " in
    *" pip sync "*) test ! -e "$root/uv-fails" || fail "$root/uv-fails" ;;
    *" --quiet "*) test ! -e "$root/index-fails" || fail "$root/index-fails"; exit ;;
esac
export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX-file://$root/index}"
exec @UV@ "$@"
"#;

/// Loads the small package that stands there for Covalent instead of the server.
const VERIFY: &str = "\
import json, site
site.main()
import covalent
sought = ['covalent', 'numpy']
print(json.dumps({'covalent': covalent.VERSION, 'executors': ['dask', 'local'], 'sought': sought}))
";

/// What the wheelhouse holds.
const WHEELS: [(&str, &str); 9] = [
    ("covalent", "0.240.0"),
    ("covalent-any-plugin", "1.0"),
    ("covalent-ssh-plugin", "0.24.1"),
    ("numpy", "0.9"),
    ("numpy", "1.0"),
    ("pennylane", "0.9"),
    ("psycopg2", "1.0"),
    ("scipy", "1.0"),
    ("six", "1.0"),
];

const WHEELHOUSE: &str = "usr/share/covalent/wheelhouse";

pub struct Tree(tempfile::TempDir);

impl Tree {
    pub fn new() -> Tree {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tree = Tree(tempfile::tempdir().unwrap());
        let uv = project.join("target/tools/python/bin/uv");
        assert!(uv.exists(), "scripts/wheelhouse --tools gets {uv:?}");
        let uv = UV.replace("@UV@", uv.to_str().unwrap());
        tree.program("usr/libexec/covalent/uv", &uv);
        fs::create_dir_all(tree.path("index")).unwrap();
        tree.interpreter("usr/bin/python3");
        for (name, version) in WHEELS {
            tree.wheel(name, version);
        }
        let pin = tree.pin("covalent", "0.240.0");
        tree.write("usr/share/covalent/covalent.lock", &pin);
        tree.write("usr/share/covalent/loaded-modules.txt", "covalent.py\n");
        fs::create_dir_all(tree.path("opt")).unwrap();
        let launcher = "usr/libexec/covalent/server";
        tree.write(&format!("{launcher}/verify.py"), VERIFY);
        for module in [
            "compile.py",
            "snapshot.py",
            "covalent_service/postgresql.py",
        ] {
            let text = fs::read_to_string(project.join("server").join(module)).unwrap();
            tree.write(&format!("{launcher}/{module}"), &text);
        }
        tree
    }

    /// Puts the system's Python there: what a link to it leads to would not be the tree's.
    pub fn interpreter(&self, path: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy("/usr/bin/python3", path).unwrap();
    }

    /// Puts a wheel into the wheelhouse, unless it is there.
    pub fn wheel(&self, name: &str, version: &str) {
        let wheel = wheel(name, version);
        let path = self.path(WHEELHOUSE).join(wheel.file_name().unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(wheel, path).unwrap();
    }

    /// The line of a lock for a wheel of the wheelhouse, which it is put into.
    pub fn pin(&self, name: &str, version: &str) -> String {
        self.wheel(name, version);
        let digest = Sha256::digest(fs::read(wheel(name, version)).unwrap());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name}=={version} \\\n    --hash=sha256:{digest}\n")
    }

    /// The address at which a web server of this machine has a wheel, and nothing else.
    pub fn served(&self, name: &str, version: &str) -> String {
        let wheel = wheel(name, version);
        let path = format!("/{}", wheel.file_name().unwrap().to_str().unwrap());
        let content = fs::read(wheel).unwrap();
        let port = serve({
            let path = path.clone();
            move |asked| (asked == path).then(|| content.clone())
        });
        format!("http://127.0.0.1:{port}{path}")
    }

    /// Takes the wheelhouse away and lets a package index of this machine have its wheels, each of which
    /// is sent when `may_go` returns.
    pub fn index(&self, may_go: impl Fn(&str) + Send + Sync + 'static) {
        let folder = self.path("wheels-of-the-index");
        fs::rename(self.path(WHEELHOUSE), &folder).unwrap();
        let port = serve(move |asked| {
            if let Some(file) = asked.strip_prefix("/files/") {
                may_go(file);
                return fs::read(folder.join(file)).ok();
            }
            let project = asked.strip_prefix("/simple/")?.strip_suffix('/')?;
            let files = fs::read_dir(&folder).unwrap();
            let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let links = names
                .filter(|name| name.split('-').next() == Some(&project.replace('-', "_")))
                .map(|name| format!("<a href=\"/files/{name}\">{name}</a>"));
            Some(
                links
                    .fold(String::from("<!doctype html>"), |page, link| page + &link)
                    .into(),
            )
        });
        let settings = format!("[index]\nurl = \"http://127.0.0.1:{port}/simple\"\n");
        self.write("etc/covalent/covalentctl.toml", &settings);
    }

    /// Installs a package into the active environment as an administrator does by hand.
    pub fn install_by_hand(&self, name: &str, version: &str) {
        let wheel = wheel(name, version);
        // From a folder of its own: nobody can say later where it came from.
        let folder = tempfile::tempdir().unwrap();
        fs::copy(&wheel, folder.path().join(wheel.file_name().unwrap())).unwrap();
        let wish = format!("{name}=={version}");
        let options: [&OsStr; 4] = [
            "--no-index".as_ref(),
            "--find-links".as_ref(),
            folder.path().as_os_str(),
            wish.as_ref(),
        ];
        self.pip("install", &options);
    }

    /// Removes a package from the active environment by hand.
    pub fn remove_by_hand(&self, name: &str) {
        self.pip("uninstall", &[name.as_ref()]);
    }

    fn pip(&self, verb: &str, arguments: &[&OsStr]) {
        let output = Command::new(self.path("usr/libexec/covalent/uv"))
            .args(["--no-config", "--no-cache", "pip", verb, "--python"])
            .arg(self.environment().join("bin/python"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The version of the interpreter.
    pub fn python(&self) -> String {
        let output = Command::new(self.path("usr/bin/python3"))
            .args([
                "-I",
                "-c",
                "import sys; print(*sys.version_info[:3], sep='.')",
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().into()
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
        let mut libraries = fs::read_dir(self.environment().join("lib")).unwrap();
        let library = libraries.next().unwrap().unwrap();
        library.path().join("site-packages")
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

/// A small wheel of that name, which all tests share. Made again, it would have another hash.
fn wheel(name: &str, version: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages/wheel.py");
    let digest = Sha256::digest(fs::read(&program).unwrap());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wheels-{:02x}", digest[0]));
    let file = format!("{}-{version}-py3-none-any.whl", name.replace('-', "_"));
    let path = folder.join(&file);
    if !path.exists() {
        fs::create_dir_all(&folder).unwrap();
        let draft = tempfile::tempdir_in(&folder).unwrap();
        let mut make = Command::new("python3");
        make.arg("-B").arg(program).arg(draft.path());
        assert!(make.args([name, version]).status().unwrap().success());
        // Of tests that make it at the same time, the first one counts.
        let _ = fs::hard_link(draft.path().join(&file), &path);
    }
    path
}

/// Answers every question as Covalent's API does when a workflow runs; returns the port.
pub fn busy_server() -> u16 {
    let workflow =
        r#"{"dispatches": [{"dispatch_id": "a", "root_dispatch_id": "a", "name": "w"}]}"#;
    serve(|_| Some(workflow.into()))
}

/// A server of HTTP that answers with what there is at a path; returns the port.
fn serve(content: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let content = Arc::new(content);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, content) = (stream.unwrap(), Arc::clone(&content));
            thread::spawn(move || answer(stream, content.as_ref()));
        }
    });
    port
}

fn answer(mut stream: TcpStream, content: &impl Fn(&str) -> Option<Vec<u8>>) {
    // Whoever closes before all is read resets the connection.
    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let asked: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = asked.first().and_then(|line| line.split(' ').nth(1));
    let (status, kind, body) = match content(path.unwrap_or_default()) {
        Some(body) if body.starts_with(b"<") => ("200 OK", "text/html", body),
        Some(body) => ("200 OK", "application/octet-stream", body),
        None => ("404 Not Found", "text/plain", Vec::new()),
    };
    // Nor is it this server's concern who has gone away.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&body);
}

/// A backup's name holds the second in which it was made.
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
