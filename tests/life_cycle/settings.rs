//! `covalent.env` as editors and other programs leave it: read as systemd reads it, or refused with its
//! line, by a start and by `doctor`. A machine compares the reading with systemd's own.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, mknodat};

use crate::tree::Tree;

const VARIABLES: &str = "etc/covalent/covalent.env";

fn tree(content: &[u8]) -> Tree {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    let file = tree.write(VARIABLES, "");
    fs::write(file, content).unwrap();
    tree
}

fn doctor(tree: &Tree) -> String {
    let output = tree.covalentctl(&["doctor"]);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_systemd_would_drop_is_refused_with_its_line() {
    for (content, line, reason) in [
        (&b"# caf\xe9\nA=1\nB=caf\xe9\n"[..], 3, "not UTF-8"),
        (b"COVALENT_SVC_PORT=48009\n\0", 2, "a NUL byte"),
        (
            b"\xef\xbb\xbfCOVALENT_SVC_PORT=48009\n",
            1,
            "not a variable name",
        ),
        (b"\xff\xfeC\0", 1, "a NUL byte"),
        (b"A=1\r\nCOVALENT_SVC_PORT=http\r\n", 2, "not \"http\""),
        (b"A=1\rexport B=2\r", 1, "not a variable name"),
    ] {
        let tree = tree(content);
        let place = format!("covalent.env:{line}: ");
        let refused = tree.refused(&["apply", "--at-start"], 3);
        assert!(
            refused.contains(&place) && refused.contains(reason),
            "{refused}"
        );
        let doctor = doctor(&tree);
        assert!(doctor.contains("BAD   covalent.env: "), "{doctor}");
        assert!(
            doctor.contains(&place) && doctor.contains(reason),
            "{doctor}"
        );
    }
}

#[test]
fn what_is_no_file_is_refused_and_not_taken_for_none() {
    let nowhere = tree(b"");
    fs::remove_file(nowhere.path(VARIABLES)).unwrap();
    symlink("/no/such", nowhere.path(VARIABLES)).unwrap();
    let folder = tree(b"");
    fs::remove_file(folder.path(VARIABLES)).unwrap();
    fs::create_dir(folder.path(VARIABLES)).unwrap();
    let pipe = tree(b"");
    fs::remove_file(pipe.path(VARIABLES)).unwrap();
    mknodat(CWD, pipe.path(VARIABLES), FileType::Fifo, 0o600.into(), 0).unwrap();
    for (tree, reason) in [
        (nowhere, "No such file"),
        (folder, "it is not a regular file"),
        (pipe, "it is not a regular file"),
    ] {
        let refused = tree.refused(&["apply", "--at-start"], 3);
        assert!(refused.contains("covalent.env: can't be read"), "{refused}");
        assert!(refused.contains(reason), "{refused}");
        let doctor = doctor(&tree);
        assert!(doctor.contains("BAD   covalent.env: "), "{doctor}");
    }
}

#[test]
fn what_another_program_has_written_is_read() {
    let tree = tree(b"# By cloud-init.\r\nCOVALENT_SVC_PORT=\"48042\"\r\n");
    let kept = tree.path("srv/covalent.env");
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::rename(tree.path(VARIABLES), &kept).unwrap();
    symlink(&kept, tree.path(VARIABLES)).unwrap();
    tree.ok(&["apply", "--at-start"]);
    let status = tree.ok(&["status"]);
    assert!(status.contains("http://localhost:48042"), "{status}");
}

#[test]
fn a_comment_that_ends_in_a_backslash_is_told_with_its_line() {
    let tree = tree(b"A=1\n# C:\\\nCOVALENT_SVC_PORT=48042\n");
    let said = tree.ok(&["apply", "--at-start"]);
    let words = "covalent.env:2: the comment ends in a backslash";
    assert!(said.contains("warning") && said.contains(words), "{said}");
    let doctor = doctor(&tree);
    assert!(
        doctor.contains("warn  covalent.env: ") && doctor.contains(words),
        "{doctor}"
    );
}
