//! `doctor`: each thing that can be wrong is broken, and the cure read. What takes a machine to break
//! is in `tests/machines/trouble.rs`.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::tree::Tree;

const SETTINGS: &str = "etc/covalent/covalentctl.toml";
const VARIABLES: &str = "etc/covalent/covalent.env";
const DATABASE: &str = "var/lib/covalent/.local/share/covalent/dispatcher_db.sqlite";

/// A machine with which nothing is wrong, but that nothing runs there.
fn sound() -> Tree {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let port = format!("COVALENT_SVC_PORT={}\n", port.unwrap().port());
    set_mode(&tree.write(VARIABLES, &port), 0o640);
    tree.database(DATABASE, "aa", "w");
    let environment = tree.environment();
    tree.edit_manifest(&environment, "database_revision", "aa");
    tree
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What doctor says of one thing: its line, and those that belong to it.
fn said(tree: &Tree, name: &str) -> String {
    let output = tree.covalentctl(&["doctor"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let start = format!("  {name}: ");
    let lines = text.lines().skip_while(|line| !line.contains(&start));
    let mut lines = lines.peekable();
    let first = lines.next().unwrap_or_else(|| panic!("no {name}: {text}"));
    let rest = lines.take_while(|line| line.starts_with("      "));
    rest.fold(first.to_string(), |text, line| text + "\n" + line)
}

/// Checks that doctor says of one thing how it is, the cause and the cure.
fn expect(tree: &Tree, name: &str, word: &str, parts: &[&str]) {
    let said = said(tree, name);
    assert!(said.starts_with(word), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
}

#[test]
fn nothing_is_wrong_where_nothing_is_broken() {
    let tree = sound();
    for name in [
        "clock",
        "disk",
        "mounts",
        "settings",
        "covalent.env",
        "wheels",
        "index",
        "interpreter",
        "environment",
        "packages",
        "permissions",
        "data",
        "database",
        "port",
        "open to",
        "users",
    ] {
        expect(&tree, name, "good", &[]);
    }
}

#[test]
fn a_clock_that_is_behind_is_told() {
    let tree = sound();
    let lock = File::open(tree.path("usr/share/covalent/covalent.lock")).unwrap();
    let later = SystemTime::now() + Duration::from_secs(3 * 24 * 3600);
    lock.set_modified(later).unwrap();
    expect(
        &tree,
        "clock",
        "BAD",
        &["was made at", "Next: sudo timedatectl set-ntp true"],
    );
}

#[test]
fn a_setting_that_cannot_be_used_is_told_with_its_file() {
    let tree = sound();
    tree.write(SETTINGS, "generations = 0\n");
    expect(
        &tree,
        "settings",
        "BAD",
        &["at least 1", "Next: correct the file"],
    );
    let tree = sound();
    tree.write(VARIABLES, "COVALENT_SVC_PORT=http\n");
    expect(
        &tree,
        "covalent.env",
        "BAD",
        &["covalent.env:1: ", "Next: correct the file"],
    );
    fs::remove_file(tree.path(VARIABLES)).unwrap();
    expect(&tree, "covalent.env", "warn", &["Next: install -m 0640"]);
}

#[test]
fn wheels_that_are_nowhere_are_told() {
    let tree = sound();
    fs::remove_dir_all(tree.path("usr/share/covalent/wheelhouse")).unwrap();
    expect(&tree, "wheels", "warn", &["Next: install covalent-wheels"]);
    expect(&tree, "index", "good", &["it answers"]);
    tree.write(SETTINGS, "network = \"never\"\n");
    expect(&tree, "wheels", "BAD", &["Next: install covalent-wheels"]);
    expect(&tree, "index", "good", &["none is asked"]);
}

#[test]
fn an_index_that_is_needed_and_out_of_reach_is_told_with_the_proxy() {
    let tree = sound();
    tree.write("index-fails", "dns error: Name or service not known");
    expect(&tree, "index", "good", &["none is needed"]);
    let requirement = tree.write("etc/covalent/requirements.d/local.txt", "numpy\n");
    expect(
        &tree,
        "index",
        "warn",
        &["Name or service not known", "Next: correct url = ..."],
    );
    fs::remove_file(requirement).unwrap();
    fs::remove_dir_all(tree.path("usr/share/covalent/wheelhouse")).unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    tree.write(
        SETTINGS,
        &format!("[index]\nproxy = \"http://me:s3cret@{address}\"\n"),
    );
    let through = format!("through the proxy http://{address}");
    expect(&tree, "index", "BAD", &[&through, "or proxy = ..."]);
    drop(proxy);
    let cure = "Next: correct proxy = ... below [index] in";
    expect(&tree, "index", "BAD", &["does not answer", cure]);
    assert!(!said(&tree, "index").contains("s3cret"));
}

#[test]
fn an_interpreter_that_is_gone_is_told() {
    let tree = sound();
    fs::remove_file(tree.path("usr/bin/python3")).unwrap();
    let cure = "Next: install one";
    expect(&tree, "interpreter", "BAD", &["Python 3.10 to 3.14", cure]);
    let cure = "Next: sudo covalentctl apply";
    expect(&tree, "environment", "BAD", &["which is gone", cure]);
    fs::remove_file(tree.path("opt/virtualenvs/covalent")).unwrap();
    expect(
        &tree,
        "environment",
        "BAD",
        &["covalent has not been built", cure],
    );
    expect(
        &tree,
        "packages",
        "skip",
        &["the environment has not been built"],
    );
}

#[test]
fn a_file_that_is_not_what_was_installed_is_told() {
    let tree = sound();
    let module = tree.site_packages().join("covalent.py");
    let before = fs::read_to_string(&module).unwrap();
    let changed = before.replace("0.240.0", "0.241.0");
    fs::write(&module, &changed).unwrap();
    let cure = "Next: sudo covalentctl apply --rebuild";
    let cause = "covalent.py is not what was installed";
    expect(&tree, "packages", "BAD", &[cause, cure]);
    assert_eq!(tree.covalentctl(&["doctor"]).status.code(), Some(11));
    fs::remove_file(&module).unwrap();
    expect(&tree, "packages", "BAD", &["covalent.py is missing", cure]);
    tree.ok(&["apply", "--rebuild"]);
    expect(&tree, "packages", "good", &["1 packages"]);

    let record = "covalent-0.240.0.dist-info/RECORD";
    fs::remove_file(tree.site_packages().join(record)).unwrap();
    expect(&tree, "packages", "BAD", &["RECORD can't be read", cure]);
}

#[test]
fn what_others_can_change_or_read_is_told() {
    let tree = sound();
    set_mode(&tree.path(VARIABLES), 0o644);
    let cure = "Next: sudo chmod 0640";
    expect(&tree, "permissions", "warn", &["covalent.env", cure]);
    // What is in the environment, and what the next one is made of.
    let module = tree.site_packages().join("covalent.py");
    let fetched = tree.write("var/cache/covalentctl/archive-v0/wheel/covalent.py", "");
    set_mode(
        &tree.write("var/cache/covalentctl/wheels-v8/wheel.lock", ""),
        0o666,
    );
    for file in [module, fetched] {
        set_mode(&file, 0o666);
        let cure = format!("sudo chmod go-w {}", file.display());
        let cause = "somebody other than root can change";
        expect(&tree, "permissions", "BAD", &[cause, &cure]);
        set_mode(&file, 0o644);
    }
    expect(&tree, "permissions", "warn", &["covalent.env"]);
}

#[test]
fn a_password_that_everybody_can_read_is_told() {
    let tree = sound();
    let file = tree.write("etc/covalent/requirements.d/mine.txt", "six\n");
    set_mode(&file, 0o644);
    tree.ok(&["apply"]);
    assert!(!said(&tree, "permissions").contains("mine.txt"));
    fs::write(&file, "six @ https://me:s3cret@example.org/six.whl\n").unwrap();
    let cure = format!("Next: sudo chmod 0640 {}", file.display());
    expect(
        &tree,
        "permissions",
        "warn",
        &["may hold a password", &cure],
    );
}

#[test]
fn what_is_to_be_typed_is_one_command_whatever_a_folder_is_called() {
    let tree = sound();
    const NAME: &str = "covalent.sqlite";
    let data = "var/lib/covalent/d; touch ROOTED; #";
    fs::create_dir(tree.path(data)).unwrap();
    tree.write(&format!("{data}/{NAME}.upgrading"), "");
    tree.write(
        VARIABLES,
        &format!("COVALENT_DATABASE=\"/{data}/{NAME}\"\n"),
    );
    tree.database(&format!("{data}/{NAME}"), "aa", "w");
    let told = said(&tree, "database");
    let (_, next) = told.split_once("Next: ").unwrap();
    let script = next.lines().next().unwrap().replace("sudo", "echo");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("ROOTED"),
        "{output:?}"
    );
    assert!(!folder.path().join("ROOTED").exists(), "{script}");
}

#[test]
fn a_database_of_another_revision_or_a_damaged_one_is_told() {
    let tree = sound();
    tree.edit_manifest(&tree.environment(), "database_revision", "bb");
    let cause = "is at revision aa, and this Covalent works with bb";
    let cure = "Next: sudo systemctl restart covalent, which migrates an older one";
    expect(&tree, "database", "warn", &[cause, cure]);

    let draft = tree.write(&format!("{DATABASE}.upgrading"), "");
    let cure = format!("Next: sudo covalentctl run -- rm {}", draft.display());
    expect(
        &tree,
        "database",
        "warn",
        &["an interrupted migration", &cure],
    );
    fs::remove_file(draft).unwrap();

    tree.write(DATABASE, "This has never been a database.");
    let cure = "Next: sudo covalentctl restore";
    let cause = "file is not a database";
    expect(&tree, "database", "BAD", &[cause, cure]);
}

#[test]
fn the_driver_that_the_database_needs_is_told() {
    let tree = sound();
    tree.write(
        VARIABLES,
        "COVALENT_DATABASE_URL=postgresql+psycopg2://covalent:s3cret@db/covalent\n",
    );
    let cure = "Next: sudo covalentctl add psycopg2-binary";
    expect(&tree, "database", "BAD", &[cure]);
    let said = tree.covalentctl(&["doctor"]).stdout;
    assert!(!String::from_utf8(said).unwrap().contains("s3cret"));
    tree.ok(&["add", "psycopg2"]);
    let cure = "Next: install PostgreSQL's client programs";
    expect(&tree, "database", "warn", &["no backup", cure]);
}

#[test]
fn a_port_that_root_alone_can_have_is_told() {
    let tree = sound();
    let first = "proc/sys/net/ipv4/ip_unprivileged_port_start";
    tree.write(first, "1024\n");
    expect(&tree, "port", "good", &["is free"]);
    tree.write(first, "65535\n");
    let cure = "Next: set COVALENT_SVC_PORT";
    expect(&tree, "port", "BAD", &["needs more rights", cure]);
}

#[test]
fn a_port_that_somebody_else_has_is_told() {
    let tree = sound();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    tree.write(VARIABLES, &format!("COVALENT_SVC_PORT={port}\n"));
    let cure = format!("Next: ss -ltnp 'sport = :{port}' names the process");
    expect(&tree, "port", "BAD", &["can't be used", &cure]);
}

#[test]
fn a_server_that_is_opened_to_the_network_is_told() {
    let tree = sound();
    let open = "COVALENT_SERVER_IFACE_ANY=1\n";
    tree.write(VARIABLES, open);
    let cure = "Next: apt install covalent-https";
    expect(
        &tree,
        "open to",
        "BAD",
        &["without a login", "runs code as the account", cure],
    );
    assert!(!said(&tree, "open to").contains("terminal"));
    tree.write(VARIABLES, &format!("{open}COVALENT_UI_TERMINAL=1\n"));
    expect(&tree, "open to", "BAD", &["a shell in the UI's terminal"]);
    // An address of nobody's (RFC 5737), and of this machine alone.
    tree.write(VARIABLES, "COVALENT_DISPATCHER_ADDR=192.0.2.1\n");
    expect(&tree, "open to", "BAD", &[cure]);
    tree.write(VARIABLES, "COVALENT_DISPATCHER_ADDR=127.0.0.2\n");
    expect(&tree, "open to", "good", &["this machine alone"]);
}

#[test]
fn which_users_of_the_machine_are_let_in_is_told() {
    let tree = sound();
    tree.write(VARIABLES, "COVALENT_SVC_PORT=1\n");
    let members = "and the members of covalent-users, sudo and wheel";
    expect(&tree, "users", "good", &[members]);
    tree.write(VARIABLES, "COVALENT_LOCAL_GROUP=physics\n");
    expect(&tree, "users", "good", &["the members of physics, sudo"]);
    tree.write(VARIABLES, "COVALENT_LOCAL_GROUP=\n");
    let cure = "Next: take the line COVALENT_LOCAL_GROUP= out";
    expect(
        &tree,
        "users",
        "warn",
        &["every user of this machine", cure],
    );
}

#[test]
fn https_is_looked_at_where_it_is_installed() {
    let tree = sound();
    for name in ["https.env", "https", "certificate"] {
        expect(&tree, name, "skip", &["covalent-https is not installed"]);
    }
    tree.write("usr/share/covalent/https.cfg", "");
    expect(&tree, "https.env", "warn", &["Next: install -m 0640"]);
    set_mode(&tree.write("etc/covalent/https.env", ""), 0o640);
    expect(
        &tree,
        "certificate",
        "BAD",
        &["there is none yet", "https renew"],
    );
    tree.ok(&["https", "renew"]);
    expect(&tree, "https.env", "good", &[]);
    expect(&tree, "https", "warn", &["no users yet", "user add NAME"]);
    expect(&tree, "certificate", "good", &["until"]);
    tree.ok(&["user", "add", "alice"]);
    expect(&tree, "https", "good", &["alice can log in"]);

    tree.write("etc/covalent/https.env", "COVALENT_HTTPS_PORT=https\n");
    expect(
        &tree,
        "https.env",
        "BAD",
        &["https.env:1: ", "restart covalent-https"],
    );
    tree.write(
        "etc/covalent/https.env",
        "COVALENT_HTTPS_NAMES=other.example.org\n",
    );
    tree.write("etc/covalent/https/server.pem", "nothing\n");
    expect(
        &tree,
        "certificate",
        "BAD",
        &["server.pem: ", "https certificate CHAIN KEY"],
    );
    let open = fs::read_to_string(tree.path(VARIABLES)).unwrap() + "COVALENT_SERVER_IFACE_ANY=1\n";
    tree.write(VARIABLES, &open);
    expect(
        &tree,
        "open to",
        "BAD",
        &["without a login", "Next: take COVALENT"],
    );
}
