//! Answers that can't be written: an error with words, or a quiet end, and never a panic.

use std::fs::File;
use std::io::pipe;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use crate::tree::Tree;

/// Every call whose answer is what it is called for.
const ANSWERS: [&[&str]; 9] = [
    &["--help"],
    &["--version"],
    &["apply", "--help"],
    &["status"],
    &["status", "--json"],
    &["doctor"],
    &["list"],
    &["history"],
    &["history", "--json"],
];

/// SIGPIPE (signal(7)).
const SIGPIPE: i32 = 13;

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_answer_that_finds_no_room_is_an_error_with_words() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    for arguments in ANSWERS {
        let output = tree.command(arguments).stdout(full()).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        let words = "covalentctl: writing to standard output: No space left on device";
        assert!(said.starts_with(words), "{arguments:?}: {said}");
    }
}

#[test]
fn an_answer_that_nobody_reads_ends_quietly() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    for arguments in ANSWERS {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = tree.command(arguments).stdout(writer).output().unwrap();
        assert_eq!(output.status.signal(), Some(SIGPIPE), "{arguments:?}");
        assert_eq!(said(&output), "", "{arguments:?}");
    }
}

#[test]
fn words_that_reach_nobody_stop_no_work() {
    let tree = Tree::new();
    for arguments in [&["apply"][..], &["apply", "--rebuild"], &["add", "six"]] {
        let output = tree.command(arguments).stderr(full()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let wrong = tree.command(&["aply"]).stderr(full()).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let refused = tree
        .command(&["rollback", "no-such"])
        .stderr(writer)
        .output();
    assert_eq!(refused.unwrap().status.code(), Some(12));
}
