//! `drain` and `restart --when-idle`: what becomes of the mark that has new workflows refused.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::tree::{Tree, busy_server};

const MARK: &str = "run/covalent/draining";

fn busy() -> Tree {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("run/covalent")).unwrap();
    let port = busy_server();
    let file = format!("COVALENT_SVC_PORT={port}\nCOVALENT_DISPATCHER_ADDR=127.0.0.1\n");
    tree.write("etc/covalent/covalent.env", &file);
    tree
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "waited for {what}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

fn end(child: Child, signal: &str) -> (Option<i32>, String) {
    let process = child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &process]).status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_drain_that_is_interrupted_leaves_nobody_refused() {
    for signal in ["INT", "TERM"] {
        let tree = busy();
        let mut drain = tree.command(&["drain"]);
        let child = drain.stderr(Stdio::piped()).spawn().unwrap();
        wait_for("the mark", || tree.path(MARK).exists());
        let (status, said) = end(child, signal);
        assert_eq!(status, Some(14), "{said}");
        assert!(said.contains("interrupted; new work is accepted"), "{said}");
        assert!(!tree.path(MARK).exists());
    }
}

#[test]
fn a_time_out_leaves_nobody_refused() {
    let tree = busy();
    let said = tree.refused(&["drain", "--timeout", "0"], 14);
    assert!(said.contains("1 workflow runs still"), "{said}");
    assert!(!tree.path(MARK).exists());
}

#[test]
fn a_restart_that_waits_refuses_nobody() {
    let tree = busy();
    let said = tree.write("said", "");
    let mut restart = tree.command(&["restart", "--when-idle"]);
    let child = restart
        .stderr(fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    wait_for("the first answer", || {
        let said = fs::read_to_string(&said).unwrap();
        said.contains("waiting until no")
    });
    assert!(!tree.path(MARK).exists());
    let (status, _) = end(child, "TERM");
    assert_eq!(status, Some(14));
}
