//! Backups, with the real tar and the real SQLite.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

use super::tree::{Tree, next_second, sqlite};

const DATABASE: &str = "var/lib/covalent/.local/share/covalent/dispatcher_db.sqlite";
const RESULT: &str = "var/lib/covalent/.local/share/covalent/data/a/result.tobj";
const SETTINGS: &str = "etc/covalent/covalent.env";

/// A machine with a workflow, its result and a setting.
fn used() -> Tree {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    tree.database(DATABASE, "aa", "before");
    tree.write(RESULT, "before");
    tree.write(SETTINGS, "COVALENT_SVC_PORT=48123\n");
    tree
}

fn back_up(tree: &Tree) -> PathBuf {
    let output = tree.covalentctl(&["backup"]);
    assert!(output.status.success(), "{output:?}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn workflow(tree: &Tree) -> String {
    sqlite(&tree.path(DATABASE), "SELECT name FROM lattices")
}

fn read(tree: &Tree, path: &str) -> String {
    fs::read_to_string(tree.path(path)).unwrap()
}

#[test]
fn a_backup_comes_back_and_what_was_there_stays_beside_it() {
    let tree = used();
    let archive = back_up(&tree);
    let mode = fs::metadata(&archive).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "secrets are in it");

    sqlite(&tree.path(DATABASE), "UPDATE lattices SET name = 'after'");
    tree.write(RESULT, "after");
    tree.write(SETTINGS, "COVALENT_SVC_PORT=48999\n");
    let said = tree.ok(&["restore", archive.to_str().unwrap()]);
    assert_eq!(
        (workflow(&tree), read(&tree, RESULT)),
        ("before\n".into(), "before".into())
    );
    assert_eq!(
        read(&tree, SETTINGS),
        "COVALENT_SVC_PORT=48999\n",
        "not asked for"
    );

    let aside: Vec<PathBuf> = said
        .lines()
        .filter_map(|line| line.split_once("what was there before: "))
        .map(|(_, path)| path.into())
        .collect();
    let [data, database] = &aside[..] else {
        panic!("{said}")
    };
    assert_eq!(
        fs::read_to_string(data.join("a/result.tobj")).unwrap(),
        "after"
    );
    assert_eq!(sqlite(database, "SELECT name FROM lattices"), "after\n");
    let beside = fs::read_dir(tree.path("var/lib/covalent/.local/share/covalent")).unwrap();
    assert_eq!(beside.count(), 4, "something is left");

    tree.ok(&["restore", "--settings", archive.to_str().unwrap()]);
    assert_eq!(read(&tree, SETTINGS), "COVALENT_SVC_PORT=48123\n");
}

#[test]
fn identities_come_back_with_the_settings_and_stay_closed() {
    let tree = used();
    let files = [
        ("fleet/ca.key", 0o600),
        ("fleet/workers/gpu1.crt", 0o644),
        ("https/server.pem", 0o640),
        ("https/ca.pem", 0o644),
        ("program", 0o4755),
    ];
    let set = |text: &str| {
        for (name, mode) in files {
            let file = tree.write(&format!("etc/covalent/{name}"), text);
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set("before");
    symlink(tree.path("srv"), tree.path("etc/covalent/elsewhere")).unwrap();
    tree.write("srv/file", "");
    let archive = back_up(&tree);
    fs::remove_dir_all(tree.path("etc/covalent/fleet")).unwrap();
    tree.write("etc/covalent/https/server.pem", "after");
    tree.write("etc/covalent/program", "after");
    tree.write("srv/file", "after");
    tree.ok(&["restore", "--settings", archive.to_str().unwrap()]);
    for (name, mode) in files {
        let path = format!("etc/covalent/{name}");
        assert_eq!(read(&tree, &path), "before", "{name}");
        let found = fs::metadata(tree.path(&path)).unwrap().permissions().mode();
        // What is open to nobody new, and never a program.
        assert_eq!(found & 0o7777, mode & 0o644, "{name}");
    }
    assert_eq!(read(&tree, "srv/file"), "after");
}

#[test]
fn the_newest_backups_stay_and_those_with_a_name() {
    let tree = used();
    tree.write("etc/covalent/covalentctl.toml", "backups = 2\n");
    let named = tree.path("mine.tar.gz");
    tree.ok(&["backup", named.to_str().unwrap()]);
    let made: Vec<PathBuf> = (0..3)
        .map(|_| {
            next_second();
            back_up(&tree)
        })
        .collect();
    assert!(!made[0].exists() && made[1].exists() && made[2].exists());
    tree.ok(&["restore", named.to_str().unwrap()]);
}

#[test]
fn a_name_is_one_in_the_callers_folder() {
    let tree = used();
    let folder = tree.write("srv/somewhere/else", "");
    let folder = folder.parent().unwrap();
    for verb in ["backup", "restore"] {
        let mut command = tree.command(&[verb, "mine.tar.gz"]);
        let output = command.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
}

#[test]
fn what_somebody_has_put_in_its_place_is_neither_written_nor_read() {
    let tree = used();
    let victim = tree.write("etc/victim", "as it was");
    let archive = tree.path("mine.tar.gz");
    let watched = tree.write("mine.tar.gz.partial", "");
    let mut reader = fs::File::open(&watched).unwrap();
    tree.ok(&["backup", archive.to_str().unwrap()]);
    assert_eq!(io::read_to_string(&mut reader).unwrap(), "");

    symlink(&victim, &watched).unwrap();
    tree.ok(&["backup", archive.to_str().unwrap()]);
    assert_eq!(read(&tree, "etc/victim"), "as it was");
    let metadata = fs::symlink_metadata(&archive).unwrap();
    assert!(metadata.is_file());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_one_that_was_just_made_stays_whatever_the_clock_says() {
    let tree = used();
    tree.write("etc/covalent/covalentctl.toml", "backups = 2\n");
    let later = [2090, 2091, 2092].map(|year| {
        let name = format!("var/backups/covalent/covalent-{year}0101T000000Z.tar.gz");
        tree.write(&name, "")
    });
    let made = back_up(&tree);
    assert!(made.exists(), "pruned");
    assert!(!later[0].exists() && !later[1].exists() && later[2].exists());
}

#[test]
fn what_cannot_come_back_is_told_and_changes_nothing() {
    let tree = used();
    // Nothing that can be compressed.
    let noise = "import random, sys; sys.stdout.buffer.write(random.Random(1).randbytes(1 << 20))";
    let output = Command::new("python3")
        .args(["-c", noise])
        .output()
        .unwrap();
    let large = tree.write("var/lib/covalent/.local/share/covalent/data/b", "");
    fs::write(large, output.stdout).unwrap();
    let archive = back_up(&tree);
    let whole = fs::read(&archive).unwrap();
    let refused = |status: i32, part: &str| {
        let said = tree.refused(&["restore", archive.to_str().unwrap()], status);
        assert!(said.contains(part), "{said}");
        assert_eq!(
            (workflow(&tree), read(&tree, RESULT)),
            ("before\n".into(), "before".into())
        );
        let beside = fs::read_dir(tree.path("var/lib/covalent/.local/share/covalent")).unwrap();
        assert_eq!(beside.count(), 2, "something is left");
    };
    // The manifest at its start can be read.
    fs::write(&archive, &whole[..whole.len() * 9 / 10]).unwrap();
    refused(1, "unpacking");
    fs::write(&archive, "hello").unwrap();
    refused(12, "is not a backup that this covalentctl has made");
    fs::remove_file(&archive).unwrap();
    refused(12, "there is no");
    fs::write(&archive, &whole).unwrap();

    tree.edit_manifest(&tree.environment(), "database_revision", "bb");
    let manifest = tree.environment().join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("0.240.0", "0.238.0")).unwrap();
    refused(13, "the backup is of Covalent 0.240.0, and this is 0.238.0");
    fs::write(&manifest, text).unwrap();
    tree.write(SETTINGS, "COVALENT_DATA_DIR=/srv/data\n");
    refused(3, "its data was in /var/lib/covalent");
}

#[test]
fn a_backup_comes_back_on_a_machine_where_the_server_never_ran() {
    let tree = used();
    let configuration = "var/lib/covalent/.config/covalent/covalent.conf";
    tree.write(configuration, "[sdk]\n");
    let archive = back_up(&tree);
    fs::remove_dir_all(tree.path("var/lib/covalent")).unwrap();
    fs::create_dir(tree.path("var/lib/covalent")).unwrap();
    tree.ok(&["restore", archive.to_str().unwrap()]);
    assert_eq!(
        (workflow(&tree), read(&tree, RESULT)),
        ("before\n".into(), "before".into())
    );
    assert_eq!(read(&tree, configuration), "[sdk]\n");
}

#[test]
fn settings_come_back_with_all_the_rest_or_not_at_all() {
    let tree = used();
    let requirements = "etc/covalent/requirements.d/mine.txt";
    tree.write(requirements, "before\n");
    let settings = "COVALENT_DATA_DIR=/srv/data\n";
    tree.write(SETTINGS, settings);
    tree.write("etc/covalent/covalentctl.toml", "backups = 2\n");
    tree.write("srv/data/a", "before");
    let archive = back_up(&tree);
    let archive = archive.to_str().unwrap();

    tree.write(SETTINGS, "COVALENT_SVC_PORT=48999\n");
    tree.write(requirements, "after\n");
    tree.write("srv/data/a", "after");
    // Nothing can be unpacked beside the database.
    let share = tree.path("var/lib/covalent/.local/share/covalent");
    let aside = tree.path("var/lib/covalent/.local/share/aside");
    fs::rename(&share, &aside).unwrap();
    fs::write(&share, "").unwrap();
    let said = tree.refused(&["restore", "--settings", archive], 1);
    assert!(said.contains("dispatcher_db.sqlite.restoring"), "{said}");
    assert_eq!(read(&tree, SETTINGS), "COVALENT_SVC_PORT=48999\n");
    assert_eq!(read(&tree, requirements), "after\n");
    assert_eq!(read(&tree, "srv/data/a"), "after");
    for folder in ["etc/covalent", "etc/covalent/requirements.d", "srv"] {
        for entry in fs::read_dir(tree.path(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_left = name.contains(".restoring") || name.contains(".before");
            assert!(!is_left, "{name}");
        }
    }
    fs::remove_file(&share).unwrap();
    fs::rename(&aside, &share).unwrap();

    // As one leaves it that was killed.
    let equal = "etc/covalent/covalentctl.toml";
    let left = tree.path(&format!("{equal}.restoring"));
    fs::create_dir(&left).unwrap();
    let said = tree.ok(&["restore", "--settings", archive]);
    assert!(!left.exists());
    assert_eq!(read(&tree, SETTINGS), settings);
    assert_eq!(read(&tree, requirements), "before\n");
    assert_eq!(read(&tree, "srv/data/a"), "before");
    for name in [
        "covalent.env.before-restore",
        "mine.txt.before-restore",
        "data.before-restore",
    ] {
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn what_a_backup_that_was_killed_has_left_is_removed() {
    let tree = used();
    let left = tree.write(
        "var/backups/covalent/covalent-20260101T000000Z.tar.zst.partial",
        "",
    );
    let other = tree.write("var/backups/covalent/mine.partial", "");
    back_up(&tree);
    assert!(!left.exists() && other.exists());
}
