//! Generations: shared, listed, gone back to, and what cut-off and simultaneous runs leave.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tree::{Tree, sqlite};

/// A tree with two generations; the older one lacks the package `numpy`.
fn two() -> Tree {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    tree.ok(&["add", "numpy"]);
    tree
}

fn history(tree: &Tree) -> serde_json::Value {
    serde_json::from_str(&tree.ok(&["history", "--json"])).unwrap()
}

#[test]
fn a_generation_starts_from_the_files_of_the_one_before() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    let module = |tree: &Tree| tree.site_packages().join("module.py");
    fs::write(module(&tree), "x = 1\n").unwrap();
    let first = fs::metadata(module(&tree)).unwrap();
    tree.ok(&["add", "numpy"]);
    let second = fs::metadata(module(&tree)).unwrap();
    assert_eq!(
        (second.mtime(), second.mtime_nsec()),
        (first.mtime(), first.mtime_nsec())
    );
    let entries = history(&tree);
    assert_eq!(entries[0]["base"], entries[1]["id"]);

    tree.ok(&["apply", "--rebuild"]);
    assert!(!module(&tree).exists());
    assert!(history(&tree)[0]["base"].is_null());
}

#[test]
fn the_history_shows_what_there_is_and_what_is_in_it() {
    let tree = two();
    let said = tree.ok(&["history"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("* ") && lines[0].ends_with(", numpy 1.0"),
        "{said}"
    );
    let older = format!("Covalent 0.240.0, Python {}", tree.python());
    assert!(lines[1].starts_with("  ") && lines[1].contains(&older));
}

#[test]
fn a_rollback_holds_until_something_new_is_wanted() {
    let tree = two();
    let newest = tree.active();
    tree.ok(&["rollback"]);
    let older = tree.active();
    assert_ne!(older, newest);
    for verb in [
        &["apply"][..],
        &["apply", "--at-start"],
        &["apply", "--transaction"],
    ] {
        tree.ok(verb);
        assert_eq!(tree.active(), older, "{verb:?} undid the rollback");
    }
    assert!(
        tree.ok(&["status"])
            .contains("kept by covalentctl rollback")
    );
    let said = tree.refused(&["rollback"], 12);
    assert!(said.contains("no environment from before"), "{said}");

    // Forward again, which is what is wanted: nothing is held any more.
    let name = newest.file_name().unwrap().to_str().unwrap();
    tree.ok(&["rollback", name]);
    assert_eq!(tree.active(), newest);
    assert!(!tree.ok(&["status"]).contains("kept by"));

    tree.ok(&["rollback"]);
    tree.write(
        "usr/share/covalent/covalent.lock",
        &tree.pin("covalent", "0.241.0"),
    );
    tree.ok(&["apply"]);
    assert_eq!(tree.packages(), ["covalent-0.241.0", "numpy-1.0"]);
}

#[test]
fn a_rollback_without_its_interpreter_or_to_nowhere_is_refused() {
    let tree = two();
    let active = tree.active();
    for id in ["2019", "20"] {
        tree.refused(&["rollback", id], 12);
    }
    let said = tree.refused(
        &["rollback", active.file_name().unwrap().to_str().unwrap()],
        12,
    );
    assert!(said.contains("active one already"), "{said}");

    let older = history(&tree)[1]["id"].as_str().unwrap().to_string();
    let python = tree
        .path("opt/virtualenvs/.covalent")
        .join(older)
        .join("bin/python");
    fs::remove_file(&python).unwrap();
    symlink("/no/such/python3.9", &python).unwrap();
    let said = tree.refused(&["rollback"], 12);
    assert!(said.contains("which is gone"), "{said}");
    assert_eq!(tree.active(), active);
}

#[test]
fn a_rollback_brings_the_database_of_before_its_migration_back() {
    let tree = two();
    let older = history(&tree)[1]["id"].as_str().unwrap().to_string();
    let older = tree.path("opt/virtualenvs/.covalent").join(&older);
    tree.edit_manifest(&older, "database_revision", "aa");
    tree.edit_manifest(&tree.environment(), "database_revision", "bb");
    let active = tree.active();
    let database = "var/lib/covalent/.local/share/covalent/dispatcher_db.sqlite";
    tree.database(database, "bb", "w");
    let said = tree.refused(&["rollback"], 13);
    assert!(
        said.contains("at revision bb") && said.contains("dispatcher_db.sqlite.aa"),
        "{said}"
    );
    assert_eq!(tree.active(), active);

    tree.database(&format!("{database}.aa"), "aa", "w");
    let said = tree.ok(&["rollback"]);
    assert!(said.contains("dispatcher_db.sqlite.bb"), "{said}");
    let revision = |path: &str| sqlite(&tree.path(path), "SELECT version_num FROM alembic_version");
    assert_eq!(revision(database), "aa\n");
    assert_eq!(revision(&format!("{database}.bb")), "bb\n");
    assert_ne!(tree.active(), active);
}

/// What the unit does when its processes have ended.
fn ended(tree: &Tree, result: &str, status: &str) {
    let mut command = tree.command(&["rollback", "--note-end"]);
    command
        .env("SERVICE_RESULT", result)
        .env("EXIT_STATUS", status);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Two environments between which the database is migrated: the newer one, and the older one.
fn with_a_migration_between(tree: &Tree) -> (PathBuf, PathBuf) {
    let id = history(tree)[1]["id"].as_str().unwrap().to_string();
    let newer = tree.environment();
    let older = tree.path("opt/virtualenvs/.covalent").join(id);
    tree.edit_manifest(&older, "database_revision", "aa");
    tree.edit_manifest(&newer, "database_revision", "bb");
    tree.database(DATABASE, "aa", "w");
    tree.ok(&["apply", "--at-start"]);
    (newer, older)
}

/// The launcher's mark in the name of an environment.
fn mark(tree: &Tree, environment: &Path) {
    let below = environment.strip_prefix(tree.path("")).unwrap();
    tree.write(
        "var/lib/covalent/unproven",
        &format!("/{}", below.display()),
    );
}

fn status(tree: &Tree) -> serde_json::Value {
    serde_json::from_str(&tree.ok(&["status", "--json"])).unwrap()
}

const DATABASE: &str = "var/lib/covalent/.local/share/covalent/dispatcher_db.sqlite";

#[test]
fn a_failed_migration_is_gone_back_from_by_itself_and_only_once() {
    let tree = two();
    let (newer, older) = with_a_migration_between(&tree);
    ended(&tree, "exit-code", "1");
    tree.ok(&["apply", "--at-start"]);
    assert_eq!(tree.environment(), newer, "another failure");

    ended(&tree, "exit-code", "79");
    assert_eq!(tree.environment(), newer, "there is little time at the end");
    tree.ok(&["apply", "--at-start"]);
    assert_eq!(tree.environment(), older);
    tree.ok(&["apply", "--at-start"]);
    assert_eq!(tree.environment(), older, "it stays");
    let failure = status(&tree)["failure"].clone();
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("could not start with"), "{message}");
    let next = failure["next"].as_str().unwrap();
    assert!(next.contains("covalentctl logs"), "{next}");

    // Neither of them can: the start is refused once, and the next one is tried.
    ended(&tree, "exit-code", "79");
    let said = tree.refused(&["apply", "--at-start"], 13);
    assert!(said.contains("has already rolled back to"), "{said}");
    assert_eq!(tree.environment(), older);
    let said = tree.refused(&["serve"], 13);
    assert!(said.contains("the server is not started"), "{said}");
    tree.ok(&["apply", "--at-start"]);

    // What is new is built and tried again, and the reason is history.
    tree.write("etc/covalent/requirements.d/new.txt", "six\n");
    tree.ok(&["apply"]);
    assert!(status(&tree)["failure"].is_null());
}

#[test]
fn a_server_that_is_killed_before_it_serves_from_a_migrated_database_is_gone_back_from_too() {
    let tree = two();
    let (newer, older) = with_a_migration_between(&tree);
    let draft = format!("{DATABASE}.upgrading");
    tree.write(&draft, "half");
    let stays = |result: &str, status: &str, why: &str| {
        ended(&tree, result, status);
        tree.ok(&["apply", "--at-start"]);
        assert_eq!(tree.environment(), newer, "{why}");
    };
    stays("signal", "KILL", "there was no migration");
    mark(&tree, &older);
    stays("signal", "KILL", "it was another one's");
    mark(&tree, &newer);
    stays("success", "0", "somebody stopped it");
    stays("exit-code", "1", "it says itself what it is");

    ended(&tree, "oom-kill", "KILL");
    tree.ok(&["apply", "--at-start"]);
    assert_eq!(tree.environment(), older);
    assert!(!tree.path(&draft).exists());
    let status = status(&tree);
    let message = status["failure"]["message"].as_str().unwrap();
    assert!(message.contains("was ended (oom-kill, KILL)"), "{message}");
}

#[test]
fn an_environment_that_has_served_is_not_left_whatever_its_tasks_do() {
    let tree = two();
    let (newer, _) = with_a_migration_between(&tree);
    let id = newer.file_name().unwrap().to_str().unwrap();
    // As systemd's word has it noted, which a test can't have it say.
    tree.write("var/lib/covalentctl/served", id);
    mark(&tree, &newer);
    ended(&tree, "signal", "KILL");
    let said = tree.refused(&["apply", "--at-start"], 13);
    assert!(said.contains("has served before"), "{said}");
    tree.ok(&["apply", "--at-start"]);
    assert_eq!(tree.environment(), newer);
}

#[test]
fn a_return_that_is_cut_off_is_completed_by_the_next_start() {
    let tree = two();
    let (newer, older) = with_a_migration_between(&tree);
    tree.database(DATABASE, "bb", "new");
    tree.database(&format!("{DATABASE}.aa"), "aa", "old");
    mark(&tree, &newer);
    ended(&tree, "exit-code", "79");
    let mut start = tree.command(&["apply", "--at-start"]);
    let output = start
        .env("COVALENTCTL_FAILPOINT", "linked")
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(tree.environment(), newer);
    tree.ok(&["apply", "--at-start"]);
    assert_eq!(tree.environment(), older);
    assert!(!status(&tree)["failure"].is_null());
}

#[test]
fn the_environment_that_was_gone_back_to_outlives_the_one_that_was_left() {
    let tree = two();
    let good = history(&tree)[1]["id"].as_str().unwrap().to_string();
    tree.ok(&["rollback"]);
    tree.write(
        "usr/share/covalent/covalent.lock",
        &tree.pin("covalent", "0.241.0"),
    );
    tree.ok(&["apply"]);
    tree.ok(&["rollback"]);
    assert!(tree.active().ends_with(&good), "{:?}", tree.active());
}

#[test]
fn a_rollback_takes_along_what_was_installed_by_hand() {
    let tree = two();
    tree.install_by_hand("by-hand", "1.0");
    let said = tree.ok(&["rollback"]);
    assert!(said.contains("carried over: by-hand 1.0"), "{said}");
    assert!(tree.ok(&["list"]).contains("by-hand"));
}

#[test]
fn an_environment_that_a_client_runs_from_stays_even_if_opt_is_a_link() {
    let tree = Tree::new();
    tree.write("etc/covalent/covalentctl.toml", "generations = 1\n");
    fs::rename(tree.path("opt"), tree.path("disk")).unwrap();
    symlink("disk", tree.path("opt")).unwrap();
    tree.ok(&["apply"]);
    // As a client that came through the link: what is mapped has its real path, and nothing else.
    let library = tree.environment().canonicalize().unwrap().join("library");
    fs::copy("/bin/sleep", &library).unwrap();
    let mut client = Command::new(&library);
    std::os::unix::process::CommandExt::arg0(&mut client, "client");
    let mut client = client.arg("600").spawn().unwrap();
    tree.ok(&["apply", "--rebuild"]);
    let kept = library.exists();
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(kept);
    tree.ok(&["apply"]);
    assert!(!library.exists());
}

#[test]
fn garbage_is_swept_away_also_when_there_is_nothing_to_build() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    let active = tree.active();
    let left = [
        "opt/virtualenvs/.covalent/20260101T000000Z-00000000/bin/python",
        "opt/virtualenvs/.covalent/.20260101T000000Z-00000000.cache/x",
        "var/lib/covalentctl/.covalentctl-a1b2c3",
        "var/lib/covalentctl/home-a1b2c3/x",
    ];
    for path in left {
        tree.write(path, "");
    }
    symlink(".covalent/x", tree.path("opt/virtualenvs/covalent.next")).unwrap();
    tree.ok(&["apply"]);
    for path in left {
        assert!(!tree.path(path).exists(), "{path}");
    }
    assert!(!tree.path("opt/virtualenvs/covalent.next").is_symlink());
    assert_eq!((tree.active(), tree.generations()), (active, 1));
}

#[test]
fn fifty_at_once_do_the_work_once() {
    let tree = Tree::new();
    let children: Vec<_> = (0..50)
        .map(|_| {
            Command::new(env!("CARGO_BIN_EXE_covalentctl"))
                .arg("apply")
                .env("COVALENTCTL_ROOT", tree.path(""))
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    let calls = fs::read_to_string(tree.path("uv-calls")).unwrap();
    assert_eq!(calls.matches("pip sync").count(), 1, "{calls}");
    assert_eq!(tree.generations(), 1);
}
