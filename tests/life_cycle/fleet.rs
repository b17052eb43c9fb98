//! The verbs of a fleet, on both sides: what is printed, what is written, what is refused.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use crate::tree::Tree;

const WORKER_UNIT: &str = "usr/lib/systemd/system/covalent-worker.service";
const PUBLISHED: &str = "run/covalent-fleet";

/// A machine with the package covalent-worker.
pub fn worker() -> Tree {
    let tree = Tree::new();
    tree.write(WORKER_UNIT, "");
    tree
}

pub fn add(server: &Tree, name: &str) -> String {
    let output = server.covalentctl(&["worker", "add", name, "--address", "server.example.org"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn join(tree: &Tree, given: &str) -> Output {
    let mut command = tree.command(&["join"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(given.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn text(tree: &Tree, path: &str) -> String {
    fs::read_to_string(tree.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn mode(tree: &Tree, path: &str) -> u32 {
    tree.path(path).metadata().unwrap().permissions().mode() & 0o777
}

/// The names of what is in a folder.
fn names(tree: &Tree, path: &str) -> Vec<String> {
    let entries = fs::read_dir(tree.path(path)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_line_from_the_server_makes_a_worker_and_is_shown_nowhere_else() {
    let (server, worker) = (Tree::new(), worker());
    let output = server.covalentctl(&["worker", "add", "gpu1", "--address", "server.example.org"]);
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.starts_with("covalent1,gpu1,server.example.org:48009,"));
    assert_eq!(line.lines().count(), 1);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("sudo covalentctl join"), "{words}");
    let secret = line.trim().rsplit(',').next().unwrap();
    assert!(!words.contains(secret));
    // What the server keeps is no worker's key.
    for path in [
        "etc/covalent/fleet",
        "etc/covalent/fleet/workers",
        PUBLISHED,
    ] {
        for name in names(&server, path) {
            let content = fs::read(server.path(path).join(&name)).unwrap_or_default();
            assert!(
                !String::from_utf8_lossy(&content).contains(secret),
                "{name}"
            );
        }
    }

    let output = join(&worker, &line);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("this machine is gpu1 of server.example.org:48009"),
        "{said}"
    );
    assert!(!said.contains(secret) && output.stdout.is_empty());
    let variables = text(&worker, "etc/covalent/fleet/joined.env");
    assert!(
        variables.contains("\nCOVALENT_SERVER=server.example.org:48009\n"),
        "{variables}"
    );
    assert!(
        variables.contains("\nCOVALENT_WORKER_NAME=gpu1\n"),
        "{variables}"
    );
    assert_eq!(mode(&worker, "etc/covalent/fleet/worker.key"), 0o600);
    // What the account gets, it can't change.
    assert_eq!(
        names(&worker, PUBLISHED),
        ["ca.crt", "worker.crt", "worker.key"]
    );
    assert_eq!(mode(&worker, PUBLISHED), 0o750);
    for name in ["ca.crt", "worker.crt", "worker.key"] {
        let copy = format!("{PUBLISHED}/{name}");
        assert_eq!(
            text(&worker, &copy),
            text(&worker, &format!("etc/covalent/fleet/{name}"))
        );
        assert_eq!(mode(&worker, &copy), 0o640);
    }
    assert_eq!(
        text(&worker, "etc/covalent/fleet/ca.crt"),
        text(&server, "etc/covalent/fleet/ca.crt")
    );
    let status: serde_json::Value =
        serde_json::from_slice(&worker.covalentctl(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["role"], "worker");
    assert_eq!(status["joined"]["name"], "gpu1");
    assert_eq!(status["joined"]["server"], "server.example.org:48009");
}

#[test]
fn what_is_no_line_of_a_server_changes_nothing() {
    let (server, worker) = (Tree::new(), worker());
    let line = add(&server, "gpu1");
    let cut = &line[..line.len() - 20];
    for (given, why) in [
        ("", "nothing came"),
        ("hello\n", "six parts"),
        (cut, "can't be read"),
    ] {
        let output = join(&worker, given);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains(why) && said.contains("worker add NAME"),
            "{said}"
        );
    }
    assert!(!worker.path("etc/covalent/fleet").exists());
    assert!(!worker.path(PUBLISHED).exists());
    let output = join(&worker, &line);
    assert!(output.status.success());
}

/// script(1) gives it a terminal, at which a person pastes the line.
#[test]
fn a_line_that_is_pasted_at_a_terminal_is_not_shown() {
    let (server, worker) = (Tree::new(), worker());
    let line = add(&server, "gpu1");
    let command = worker.command(&["join"]);
    let program = command.get_program().to_str().unwrap();
    let mut script = Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--command",
            &format!("{program} join"),
            "/dev/null",
        ])
        .env("COVALENTCTL_ROOT", worker.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = script.stdout.take().unwrap();
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains("not shown here): ") {
        let mut byte = [0];
        assert_eq!(
            output.read(&mut byte).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&shown)
        );
        shown.extend(byte);
    }
    script
        .stdin
        .take()
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
    output.read_to_end(&mut shown).unwrap();
    let shown = String::from_utf8_lossy(&shown);
    assert!(script.wait().unwrap().success(), "{shown}");
    assert!(shown.contains("this machine is gpu1"), "{shown}");
    assert!(!shown.contains("covalent1,"), "{shown}");
}

#[test]
fn a_name_has_one_identity_and_without_it_none() {
    let server = Tree::new();
    let fingerprint = |name: &str| text(&server, &format!("{PUBLISHED}/workers/{name}"));
    let (first, other) = (add(&server, "gpu1"), add(&server, "w2"));
    assert_ne!(first, other);
    let before = fingerprint("gpu1");
    let digest = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(server.path("etc/covalent/fleet/workers/gpu1.crt"))
        .output()
        .unwrap();
    let digest = String::from_utf8(digest.stdout)
        .unwrap()
        .replace(':', "")
        .to_lowercase();
    assert!(digest.trim().ends_with(&before), "{digest} {before}");

    let output = server.covalentctl(&["worker", "add", "gpu1", "--address", "192.0.2.1:5"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("the identity that it had is not accepted any more"),
        "{said}"
    );
    assert!(output.stdout.starts_with(b"covalent1,gpu1,192.0.2.1:5,"));
    assert_ne!(fingerprint("gpu1"), before);

    server.write("run/covalent/fleet.json", r#"{"workers": {}}"#);
    server.ok(&["worker", "drain", "w2", "--timeout", "0"]);
    assert_eq!(names(&server, &format!("{PUBLISHED}/draining")), ["w2"]);
    server.ok(&["worker", "remove", "w2"]);
    assert_eq!(names(&server, &format!("{PUBLISHED}/workers")), ["gpu1"]);
    assert!(names(&server, &format!("{PUBLISHED}/draining")).is_empty());
    let said = server.refused(&["worker", "remove", "w2"], 12);
    assert!(said.contains("no worker w2"), "{said}");
    server.refused(&["worker", "add", "server"], 2);
    server.refused(&["worker", "add", "../x"], 2);
    let said = server.refused(&["worker", "add", "w3", "--address", "localhost"], 3);
    assert!(said.contains("--address HOST"), "{said}");
}

#[test]
fn a_start_publishes_what_a_boot_has_forgotten() {
    let (server, worker) = (Tree::new(), worker());
    let line = add(&server, "gpu1");
    assert!(join(&worker, &line).status.success());
    for (tree, expected) in [
        (
            &server,
            &[
                "ca.crt",
                "server.crt",
                "server.key",
                "server.lock",
                "workers",
            ][..],
        ),
        (&worker, &["ca.crt", "worker.crt", "worker.key"][..]),
    ] {
        fs::remove_dir_all(tree.path(PUBLISHED)).unwrap();
        tree.ok(&["apply", "--at-start"]);
        assert_eq!(names(tree, PUBLISHED), expected);
    }
    assert_eq!(names(&server, &format!("{PUBLISHED}/workers")), ["gpu1"]);

    // Drained before it was restarted; its folder stays meanwhile.
    worker.write("run/covalent/draining", "");
    worker.ok(&["apply", "--at-start"]);
    assert!(!worker.path("run/covalent/draining").exists());

    let said = worker.ok(&["leave"]);
    assert!(said.contains("worker remove gpu1"), "{said}");
    assert!(!worker.path(PUBLISHED).exists());
    assert!(names(&worker, "etc/covalent/fleet").is_empty());
    worker.refused(&["leave"], 12);
}

#[test]
fn the_list_says_how_each_worker_is() {
    let server = Tree::new();
    assert!(server.ok(&["worker", "list"]).contains("no workers"));
    add(&server, "gpu1");
    add(&server, "w2");
    let said = server.ok(&["worker", "list"]);
    assert!(
        said.contains("gpu1  unknown: the server is not running\n"),
        "{said}"
    );
    server.write(
        "run/covalent/fleet.json",
        r#"{"workers": {"gpu1": {"state": "running", "busy": 3, "slots": 8, "resources": {"GPU": 1}},
            "w2": {"state": "refused", "reason": "\u001b[31mPython 3.12 here\nroot: all is well"},
            "stranger": {"state": "running"}}, "waiting": {"TPU": 2}}"#,
    );
    assert_eq!(
        server.ok(&["worker", "list"]),
        "gpu1  running  3 of 8 busy  GPU=1\n\
         w2    refused: ?[31mPython 3.12 here?root: all is well\n\
         2 tasks wait for TPU: no worker has it\n"
    );
    let said = server.ok(&["worker", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(list[0]["name"], "gpu1");
    assert_eq!(list[0]["busy"], 3);
    let said = server.ok(&["worker", "drain", "gpu1", "--resume"]);
    assert!(said.contains("nothing to do"), "{said}");
}

#[test]
fn a_drain_ends_when_the_server_says_so_and_takes_back_only_its_own() {
    let server = Tree::new();
    add(&server, "gpu1");
    let mark = server.path(&format!("{PUBLISHED}/draining/gpu1"));
    let report = |worker: &str| {
        let report = format!(r#"{{"workers": {{"gpu1": {worker}}}}}"#);
        server.write("run/covalent/fleet.json", &report);
    };
    let drain = ["worker", "drain", "gpu1", "--timeout", "0"];

    // A server that says nothing may have tasks there.
    for text in ["", "{"] {
        server.write("run/covalent/fleet.json", text);
        let said = server.refused(&drain, 14);
        assert!(said.contains("has not begun to drain gpu1"), "{said}");
        assert!(said.contains("it gets new ones again"), "{said}");
        assert!(!mark.exists());
    }
    report(r#"{"state": "draining", "busy": 0, "slots": 2}"#);
    server.ok(&drain);
    assert!(mark.exists());

    report(r#"{"state": "draining", "busy": 1, "slots": 2}"#);
    let said = server.refused(&drain, 14);
    assert!(
        said.contains("1 task runs on gpu1 still; it goes on getting no new ones"),
        "{said}"
    );
    assert!(mark.exists());
}

#[test]
fn a_verb_of_the_other_side_says_so() {
    let (server, worker) = (Tree::new(), worker());
    for verb in [
        &["worker", "list"][..],
        &["add", "numpy"],
        &["upgrade"],
        &["backup"],
        &["adopt"],
    ] {
        let said = worker.refused(verb, 3);
        assert!(said.contains("this machine is a worker"), "{said}");
    }
    for verb in ["join", "leave"] {
        let said = server.refused(&[verb], 3);
        assert!(said.contains("install covalent-worker"), "{said}");
    }
}

#[test]
fn the_servers_packages_are_the_workers_if_its_root_has_signed_them() {
    let (server, worker) = (Tree::new(), worker());
    server.ok(&["add", "numpy"]);
    let line = add(&server, "gpu1");
    assert!(join(&worker, &line).status.success());
    worker.ok(&["apply", "--at-start"]);
    assert_eq!(worker.packages(), ["covalent-0.240.0"]);
    // As the launchers carry it from one machine to the other.
    let lock = text(&server, &format!("{PUBLISHED}/server.lock"));
    assert!(lock.contains("numpy==1.0"), "{lock}");
    let hostile = lock.replace("numpy==1.0", "evil==1.0");
    worker.write("run/covalent/server.lock", &hostile);
    let said = worker.ok(&["apply", "--at-start"]);
    assert!(said.contains("not signed by the server's root"), "{said}");
    assert_eq!(worker.packages(), ["covalent-0.240.0"]);

    server.ok(&["apply", "--at-start"]);
    assert_eq!(text(&server, &format!("{PUBLISHED}/server.lock")), lock);
    worker.write("run/covalent/server.lock", &lock);
    worker.ok(&["apply", "--at-start"]);
    assert_eq!(worker.packages(), ["covalent-0.240.0", "numpy-1.0"]);
    let calls = text(&worker, "uv-calls");
    let last = calls.lines().last().unwrap();
    assert!(
        last.contains("--no-build") && last.contains("--require-hashes"),
        "{last}"
    );
    assert!(
        worker
            .ok(&["list"])
            .contains("the server's, for its workers")
    );
    // And they are no more once the server has none.
    server.ok(&["remove", "numpy"]);
    server.ok(&["apply", "--at-start"]);
    let newer = text(&server, &format!("{PUBLISHED}/server.lock"));
    worker.write("run/covalent/server.lock", &newer);
    worker.ok(&["apply", "--at-start"]);
    assert_eq!(worker.packages(), ["covalent-0.240.0"]);
    // Nobody brings them back with the list of before, which was signed as well.
    worker.write("run/covalent/server.lock", &lock);
    let said = worker.ok(&["apply", "--at-start"]);
    assert!(said.contains("this machine has had one of"), "{said}");
    assert_eq!(worker.packages(), ["covalent-0.240.0"]);
    assert!(join(&worker, &add(&server, "gpu1")).status.success());
    worker.ok(&["apply", "--at-start"]);
    assert_eq!(worker.packages(), ["covalent-0.240.0", "numpy-1.0"]);
}

#[test]
fn doctor_looks_at_the_fleet_from_both_sides() {
    let (server, worker) = (Tree::new(), worker());
    let line = add(&server, "gpu1");
    let doctor = |tree: &Tree| String::from_utf8(tree.covalentctl(&["doctor"]).stdout).unwrap();
    let said = doctor(&server);
    assert!(
        said.contains("good  certificates: 1 worker is let in"),
        "{said}"
    );
    assert!(!said.contains("joined: "), "{said}");
    server.write(
        "run/covalent/fleet.json",
        r#"{"workers": {"gpu1": {"state": "refused", "reason": "x"}}}"#,
    );
    let said = doctor(&server);
    assert!(
        said.contains("warn  workers: gpu1 refused: x\n      Next: "),
        "{said}"
    );
    fs::remove_file(server.path("etc/covalent/fleet/ca.key")).unwrap();
    let said = doctor(&server);
    assert!(
        said.contains("BAD   certificates: ") && said.contains("ca.key"),
        "{said}"
    );

    let said = doctor(&worker);
    assert!(
        said.contains("warn  joined: this machine is joined to no server"),
        "{said}"
    );
    assert!(said.contains("worker.env: "), "{said}");
    for name in [
        "database",
        "port",
        "open to",
        "localhost",
        "covalent.env",
        "certificates",
    ] {
        assert!(!said.contains(&format!("  {name}: ")), "{name}: {said}");
    }
    assert!(join(&worker, &line).status.success());
    let said = doctor(&worker);
    assert!(
        said.contains("good  joined: gpu1 of server.example.org:48009"),
        "{said}"
    );
    fs::remove_file(worker.path("etc/covalent/fleet/worker.key")).unwrap();
    let said = doctor(&worker);
    assert!(said.contains("BAD   joined: the key"), "{said}");
}

#[test]
fn a_first_installation_takes_over_an_earlier_server_and_a_worker_has_none() {
    let words = |tree: Tree| {
        tree.write("var/lib/covalentctl/first-installation", "");
        tree.write("var/lib/covalentctl/covalent.service.before", "[Service]\n");
        let output = tree.covalentctl(&["apply", "--transaction"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let taken = "the previous unit is now";
    let (server, worker) = (words(Tree::new()), words(worker()));
    assert!(server.contains(taken), "{server}");
    assert!(!worker.contains(taken), "{worker}");
}
