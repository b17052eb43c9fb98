//! The administrator's own packages: asked for, installed by hand, and removed again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::tree::Tree;

const LOCAL: &str = "etc/covalent/requirements.d/local.txt";

#[test]
fn a_package_is_added_listed_and_removed() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    tree.wheel("numpy", "2.4.6");
    tree.ok(&["add", "numpy", "Pennylane<1"]);
    assert_eq!(
        tree.packages(),
        ["covalent-0.240.0", "numpy-2.4.6", "pennylane-0.9"]
    );
    let file = fs::read_to_string(tree.path(LOCAL)).unwrap();
    assert!(file.ends_with("numpy\nPennylane<1\n"), "{file}");
    let listed = tree.ok(&["list"]);
    assert!(
        listed.contains("pennylane  0.9 ")
            && listed.contains("  Pennylane<1, ")
            && listed.contains("local.txt:"),
        "{listed}"
    );
    let rows: serde_json::Value = serde_json::from_str(&tree.ok(&["list", "--json"])).unwrap();
    assert_eq!(rows[0]["version"], "2.4.6");

    tree.ok(&["remove", "PennyLane"]);
    assert_eq!(tree.packages(), ["covalent-0.240.0", "numpy-2.4.6"]);
    let said = tree.refused(&["remove", "pennylane"], 12);
    assert!(said.contains("not one of your own packages"), "{said}");
    let said = tree.refused(&["remove", "covalent"], 12);
    assert!(said.contains("covalent.lock"), "{said}");
}

#[test]
fn an_address_with_a_password_is_for_root_alone() {
    let tree = Tree::new();
    tree.ok(&["add", "numpy"]);
    let mode = |path: &str| {
        let metadata = fs::metadata(tree.path(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(LOCAL), 0o640);
    // While an edit is under way, the text before it is kept.
    let note = "var/lib/covalentctl/requirements-before.json";
    let mut command = tree.command(&["add", "six"]);
    let status = command
        .env("COVALENTCTL_FAILPOINT", "edited")
        .status()
        .unwrap();
    assert!(!status.success());
    assert_eq!(mode(note), 0o600);
    let state = fs::read_to_string(tree.path("var/lib/covalentctl/state.json")).unwrap();
    assert!(!state.contains("numpy\\n"), "{state}");
    tree.ok(&["apply"]);
    assert!(!tree.path(note).exists());
    let file = fs::read_to_string(tree.path(LOCAL)).unwrap();
    assert!(file.ends_with("numpy\n"), "{file}");
}

#[test]
fn a_folder_that_is_gone_is_no_hindrance() {
    let tree = Tree::new();
    let gone = tempfile::tempdir().unwrap();
    // The shell is there when it goes.
    let mut command = tree.command(&["add", "six"]);
    let program = command.get_program().to_owned();
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let variables: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    command = Command::new("sh");
    command
        .args(["-c", "rmdir \"$PWD\"; exec \"$0\" \"$@\""])
        .arg(program)
        .args(arguments)
        .envs(variables)
        .current_dir(gone.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(tree.packages(), ["covalent-0.240.0", "six-1.0"]);
}

#[test]
fn a_conflict_is_explained_and_changes_nothing() {
    let tree = Tree::new();
    tree.ok(&["add", "numpy"]);
    let (active, file) = (tree.active(), fs::read(tree.path(LOCAL)).unwrap());
    let said = tree.refused(&["add", "covalent<0.1"], 3);
    assert!(
        said.contains("local.txt:5 wants covalent<0.1")
            && said.contains("covalent.lock:1 wants covalent==0.240.0"),
        "{said}"
    );
    assert_eq!(fs::read(tree.path(LOCAL)).unwrap(), file);
    assert_eq!(tree.active(), active);
    assert!(!tree.ok(&["status"]).contains("could not be made"));
    let said = tree.refused(&["add", "--", "--pre"], 3);
    assert!(said.contains("not a requirement"), "{said}");
}

#[test]
fn versions_stay_until_they_are_upgraded() {
    let tree = Tree::new();
    tree.ok(&["add", "numpy"]);
    tree.wheel("numpy", "2.0");
    tree.ok(&["add", "six"]);
    assert!(tree.packages().contains(&"numpy-1.0".to_string()));
    tree.ok(&["apply", "--rebuild"]);
    assert!(tree.packages().contains(&"numpy-1.0".to_string()));
    tree.ok(&["upgrade"]);
    assert!(tree.packages().contains(&"numpy-2.0".to_string()));

    let active = tree.active();
    let said = tree.ok(&["upgrade"]);
    assert!(said.contains("nothing to do"), "{said}");
    assert_eq!((tree.active(), tree.generations()), (active, 2));
}

#[test]
fn what_was_installed_by_hand_is_carried_over_until_it_is_removed() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    tree.install_by_hand("By-Hand", "1.2");
    let listed = tree.ok(&["list"]);
    assert!(
        listed.contains("by-hand  1.2  installed by hand"),
        "{listed}"
    );
    let said = tree.ok(&["apply"]);
    assert!(
        said.contains("installed by hand and carried over: by-hand 1.2")
            && said.contains("covalentctl add by-hand"),
        "{said}"
    );
    assert!(tree.packages().contains(&"By_Hand-1.2".to_string()));
    assert!(tree.ok(&["apply"]).contains("nothing to do"));

    // A build that shares nothing needs a source, and there is none: the rest is built.
    let said = tree.ok(&["apply", "--rebuild"]);
    assert!(
        said.contains("by-hand 1.2 had been installed by hand and is no longer available"),
        "{said}"
    );
    assert_eq!(tree.packages(), ["covalent-0.240.0"]);

    tree.ok(&["remove", "by-hand"]);
    assert!(!tree.ok(&["list"]).contains("by-hand"));
    // Before anybody has carried it over, too; and what a pip that was killed left counts for nothing.
    tree.install_by_hand("by-hand", "1.2");
    fs::create_dir(tree.site_packages().join("~y_hand-1.1.dist-info")).unwrap();
    tree.ok(&["remove", "by-hand"]);
    assert_eq!(tree.packages(), ["covalent-0.240.0"]);
}

#[test]
fn a_run_that_was_cut_off_takes_its_edit_back() {
    let tree = Tree::new();
    tree.ok(&["add", "numpy"]);
    let active = tree.active();
    let status = tree
        .command(&["add", "covalent<0.1"])
        .env("COVALENTCTL_FAILPOINT", "edited")
        .status()
        .unwrap();
    assert!(!status.success());
    let file = || fs::read_to_string(tree.path(LOCAL)).unwrap();
    assert!(file().contains("covalent<0.1"));
    tree.ok(&["apply"]);
    assert!(!file().contains("covalent<0.1"));
    assert_eq!(tree.active(), active);
}

#[test]
fn an_address_is_shown_nowhere() {
    let tree = Tree::new();
    let address = tree.served("mine", "1.0").replace("://", "://u:s3cret@");
    tree.write(LOCAL, &format!("mine@{address}\nnumpy\n"));
    let said = tree.ok(&["apply"]) + &tree.ok(&["list"]) + &tree.ok(&["list", "--json"]);
    assert!(tree.packages().contains(&"mine-1.0".to_string()), "{said}");
    assert!(said.contains("mine") && !said.contains("s3cret"), "{said}");
}

#[test]
fn what_was_replaced_or_removed_by_hand_is_put_back() {
    let tree = Tree::new();
    tree.ok(&["add", "numpy"]);
    tree.install_by_hand("covalent", "0.1");
    tree.remove_by_hand("numpy");
    let said = tree.ok(&["apply"]);
    assert!(
        said.contains("covalent 0.1 had been installed by hand in place"),
        "{said}"
    );
    assert_eq!(tree.packages(), ["covalent-0.240.0", "numpy-1.0"]);
}

#[test]
fn a_plugin_package_brings_a_lock_which_is_installed_as_it_stands() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    tree.write(
        "usr/share/covalent/requirements.d/covalent-ssh-plugin.lock",
        &tree.pin("covalent-ssh-plugin", "0.24.1"),
    );
    tree.ok(&["apply"]);
    assert_eq!(
        tree.packages(),
        ["covalent-0.240.0", "covalent_ssh_plugin-0.24.1"]
    );
    let calls = fs::read_to_string(tree.path("uv-calls")).unwrap();
    let sync = calls.lines().last().unwrap();
    assert!(
        sync.contains("--require-hashes") && sync.contains("--no-build"),
        "{sync}"
    );
    let listed = tree.ok(&["list"]);
    assert!(listed.contains("covalent-ssh-plugin  0.24.1"), "{listed}");
}
