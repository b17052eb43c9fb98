//! The users and the certificate of covalent-https. openssl(1) says what others make of what is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::tree::Tree;

const FOLDER: &str = "etc/covalent/https";
const USERS: &str = "etc/covalent/https/users.cfg";
const SERVER: &str = "etc/covalent/https/server.pem";
const AUTHORITY: &str = "etc/covalent/https/ca.pem";
const SETTINGS: &str = "etc/covalent/https.env";

/// A machine that has the package and is called by a name.
fn tree() -> Tree {
    let tree = Tree::new();
    tree.write("usr/share/covalent/https.cfg", "");
    tree.write(SETTINGS, "COVALENT_HTTPS_NAMES=server.example.org\n");
    tree
}

fn read(tree: &Tree, path: &str) -> String {
    fs::read_to_string(tree.path(path)).unwrap()
}

fn mode(tree: &Tree, path: &str) -> u32 {
    let metadata = fs::metadata(tree.path(path)).unwrap();
    metadata.permissions().mode() & 0o7777
}

fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// The password that was shown, which the line for ~/.netrc repeats.
fn password_in(said: &str, name: &str) -> String {
    let line = format!("    machine server.example.org login {name} password ");
    let (_, rest) = said.split_once(&line).unwrap_or_else(|| panic!("{said}"));
    let password = rest.lines().next().unwrap().to_string();
    assert!(said.contains(&format!("\n    {password}\n")), "{said}");
    password
}

/// The hash of a user, as it is stored.
fn hash(tree: &Tree, name: &str) -> Option<String> {
    let start = format!("    user {name} password ");
    let text = read(tree, USERS);
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.map(String::from)
}

fn key(tree: &Tree) -> String {
    let text = read(tree, USERS);
    let line = text.lines().find(|line| line.contains("setenv")).unwrap();
    line.into()
}

#[test]
fn without_the_package_its_verbs_say_what_to_install() {
    let tree = Tree::new();
    for verb in [&["user", "list"][..], &["user", "add", "alice"], &["https"]] {
        let said = tree.refused(verb, 3);
        assert!(said.contains("sudo apt install covalent-https"), "{said}");
    }
}

#[test]
fn a_password_is_made_shown_once_and_kept_as_a_hash_that_others_understand() {
    let tree = tree();
    let said = tree.ok(&["user", "add", "alice"]);
    assert!(said.contains("https://server.example.org:48443"), "{said}");
    let password = password_in(&said, "alice");
    assert_eq!(password.len(), 20);
    assert_eq!(mode(&tree, USERS), 0o640);
    assert!(!read(&tree, USERS).contains(&password));
    let stored = hash(&tree, "alice").unwrap();
    let [_, "6", rounds, salt, _] = stored.split('$').collect::<Vec<_>>()[..] else {
        panic!("{stored}");
    };
    let salt = format!("{rounds}${salt}");
    let made = openssl(
        &tree.path("."),
        &["passwd", "-6", "-salt", &salt, &password],
    );
    assert_eq!(made.trim(), stored);

    let other = password_in(&tree.ok(&["user", "add", "bob"]), "bob");
    assert_ne!(other, password);
    assert_eq!(tree.ok(&["user", "list"]), "alice\nbob\n");
}

#[test]
fn a_new_password_and_a_removal_end_what_was_valid_before() {
    let tree = tree();
    tree.ok(&["user", "add", "alice"]);
    tree.ok(&["user", "add", "bob"]);
    let (alices, bobs, first) = (hash(&tree, "alice"), hash(&tree, "bob"), key(&tree));
    password_in(&tree.ok(&["user", "password", "alice"]), "alice");
    assert_ne!(hash(&tree, "alice"), alices);
    assert_eq!(hash(&tree, "bob"), bobs);
    // The cookie of a page is signed with it.
    let second = key(&tree);
    assert_ne!(second, first);
    let said = tree.ok(&["user", "remove", "alice"]);
    assert!(said.contains("alice can no longer log in"), "{said}");
    assert_eq!((hash(&tree, "alice"), hash(&tree, "bob")), (None, bobs));
    assert_ne!(key(&tree), second);
    tree.ok(&["user", "add", "carol"]);
    assert_eq!(tree.ok(&["user", "list"]), "bob\ncarol\n");
}

#[test]
fn a_name_that_is_taken_unknown_or_no_plain_word_is_refused_and_changes_nothing() {
    let tree = tree();
    tree.ok(&["user", "add", "alice"]);
    let before = read(&tree, USERS);
    let said = tree.refused(&["user", "add", "alice"], 3);
    assert!(
        said.contains("sudo covalentctl user password alice"),
        "{said}"
    );
    for verb in ["remove", "password"] {
        let said = tree.refused(&["user", verb, "bob"], 12);
        assert!(said.contains("covalentctl user list"), "{said}");
    }
    for name in [
        "",
        "Alice",
        "a b",
        "a\nuser b",
        "a:b",
        "../a",
        "a\"",
        "a\u{1b}[2J",
    ] {
        let said = tree.refused(&["user", "add", name], 3);
        assert!(said.contains("can't be a user's name"), "{said}");
    }
    tree.refused(&["user", "add", "-a"], 2);
    assert_eq!(read(&tree, USERS), before);
}

#[test]
fn no_password_is_made_that_could_not_be_shown() {
    let tree = tree();
    tree.ok(&["user", "add", "alice"]);
    let before = read(&tree, USERS);
    tree.write(SETTINGS, "COVALENT_HTTPS_PORT=https\n");
    for arguments in [["user", "add", "bob"], ["user", "password", "alice"]] {
        let said = tree.refused(&arguments, 3);
        assert!(said.contains("https.env"), "{said}");
    }
    assert_eq!(read(&tree, USERS), before);
}

#[test]
fn a_file_of_users_with_anything_else_in_it_is_refused_with_the_line() {
    let tree = tree();
    tree.ok(&["user", "add", "alice"]);
    let text = read(&tree, USERS) + "    user mallory insecure-password x\n";
    tree.write(USERS, &text);
    let said = tree.refused(&["user", "add", "bob"], 3);
    assert!(
        said.contains("users.cfg: line 6 is not covalentctl's"),
        "{said}"
    );
    assert!(!said.contains("insecure"), "{said}");
    assert_eq!(read(&tree, USERS), text);
}

#[test]
fn what_is_missing_is_made_once() {
    let tree = tree();
    let said = tree.ok(&["https", "renew", "--at-start"]);
    assert!(
        said.contains("new certificate for server.example.org"),
        "{said}"
    );
    let listen = read(&tree, "run/covalentctl/https.env");
    assert!(
        listen.starts_with("COVALENT_HTTPS_LISTEN=ipv4@0.0.0.0:48443"),
        "{listen}"
    );
    for (file, expected) in [
        (AUTHORITY, 0o644),
        ("etc/covalent/https/ca.key", 0o600),
        (SERVER, 0o640),
        (USERS, 0o640),
    ] {
        assert_eq!(mode(&tree, file), expected, "{file}");
    }
    let folder = tree.path(FOLDER);
    let strict = [
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        "ca.pem",
    ];
    let named = ["-verify_hostname", "server.example.org", "server.pem"];
    let said = openssl(&folder, &[&strict[..], &named].concat());
    assert!(said.contains("server.pem: OK"), "{said}");
    let text = openssl(&folder, &["x509", "-noout", "-text", "-in", "ca.pem"]);
    assert!(text.contains("Name Constraints: critical"), "{text}");

    let before = read(&tree, SERVER);
    tree.ok(&["https", "renew", "--at-start"]);
    tree.ok(&["https", "renew"]);
    assert_eq!(read(&tree, SERVER), before);
    assert_eq!(tree.ok(&["https", "ca"]), read(&tree, AUTHORITY));
    let shown = tree.ok(&["https"]);
    for part in [
        "https://server.example.org:48443",
        "renewed by itself",
        "sudo covalentctl user add NAME",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    let print = openssl(
        &folder,
        &[
            "x509",
            "-noout",
            "-sha256",
            "-fingerprint",
            "-in",
            "server.pem",
        ],
    );
    let (_, print) = print.trim().split_once('=').unwrap();
    assert!(shown.contains(print), "{shown}");
}

/// Signs a certificate for these names with the key of the tree's own authority, or with its own.
fn sign(tree: &Tree, names: &str, days: u32, by_authority: bool) {
    let folder = tree.path(FOLDER);
    tree.write(
        "etc/covalent/https/names",
        &format!("subjectAltName={names}\n"),
    );
    let days = days.to_string();
    openssl(
        &folder,
        &[
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "new.key", "-out", "request",
            "-subj", "/CN=x",
        ],
    );
    let by: &[&str] = if by_authority {
        &["-CA", "ca.pem", "-CAkey", "ca.key"]
    } else {
        &["-key", "new.key"]
    };
    let said = openssl(
        &folder,
        &[
            &[
                "x509", "-req", "-in", "request", "-out", "new.pem", "-extfile", "names", "-days",
                &days,
            ],
            by,
        ]
        .concat(),
    );
    assert!(folder.join("new.pem").exists(), "{said}");
}

#[test]
fn a_certificate_is_renewed_before_its_end_and_not_long_before() {
    let tree = tree();
    tree.ok(&["https", "renew"]);
    let authority = read(&tree, AUTHORITY);
    let shown = tree.ok(&["https"]);
    let names = shown
        .lines()
        .find_map(|line| line.strip_prefix("Names:"))
        .unwrap()
        .trim();
    let names: Vec<String> = names
        .split(", ")
        .map(|name| match name.parse::<std::net::IpAddr>() {
            Ok(address) => format!("IP:{address}"),
            Err(_) => format!("DNS:{name}"),
        })
        .collect();
    for (days, is_renewed) in [(70, false), (50, true)] {
        sign(&tree, &names.join(","), days, true);
        let own =
            read(&tree, "etc/covalent/https/new.pem") + &read(&tree, "etc/covalent/https/new.key");
        tree.write(SERVER, &own);
        let said = tree.ok(&["https", "renew"]);
        assert_eq!(read(&tree, SERVER) != own, is_renewed, "{days}: {said}");
    }
    assert_eq!(read(&tree, AUTHORITY), authority);
}

#[test]
fn a_name_beyond_the_limits_of_the_authority_gets_a_new_one() {
    let tree = tree();
    tree.ok(&["https", "renew"]);
    let authority = read(&tree, AUTHORITY);
    tree.write(
        SETTINGS,
        "COVALENT_HTTPS_NAMES=server.example.org,a.server.example.org\n",
    );
    tree.ok(&["https", "renew"]);
    assert_eq!(read(&tree, AUTHORITY), authority);
    assert!(tree.ok(&["https"]).contains("a.server.example.org"));
    tree.write(SETTINGS, "COVALENT_HTTPS_NAMES=other.example.org\n");
    let said = tree.ok(&["https", "renew"]);
    assert!(said.contains("there is a new authority"), "{said}");
    assert_ne!(read(&tree, AUTHORITY), authority);
    assert!(
        tree.ok(&["https"])
            .contains("https://other.example.org:48443")
    );
}

#[test]
fn a_certificate_of_ones_own_is_used_if_it_can_be_and_is_left_alone() {
    let tree = tree();
    tree.ok(&["https", "renew"]);
    let before = read(&tree, SERVER);
    let folder = tree.path(FOLDER);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let install = |chain: &str, key: &str| {
        let arguments = ["https", "certificate", &path(chain), &path(key)];
        tree.covalentctl(&arguments)
    };
    let refused = |chain: &str, key: &str, reason: &str| {
        let output = install(chain, key);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(reason), "{reason:?} is missing: {said}");
        assert!(!said.contains("PRIVATE"), "{said}");
        assert_eq!(read(&tree, SERVER), before);
    };
    sign(&tree, "DNS:server.example.org", 30, false);
    refused("new.pem", "ca.key", "is not that of the key");
    refused("ca.pem", "new.key", "is not that of the key");
    refused("new.key", "new.key", "no certificate");
    refused("new.pem", "new.pem", "not a private key");
    refused("missing", "new.key", "No such file");
    tree.write(
        "etc/covalent/https/broken",
        "-----BEGIN CERTIFICATE-----\nAAAA\n",
    );
    refused("broken", "new.key", "broken is not used");
    sign(&tree, "DNS:server.example.org", 0, false);
    refused("new.pem", "new.key", "by this machine's clock");
    sign(&tree, "DNS:bank.example.com", 30, false);
    refused("new.pem", "new.key", "COVALENT_HTTPS_NAMES=NAME");

    sign(&tree, "DNS:*.example.org", 30, false);
    let output = install("new.pem", "new.key");
    assert!(output.status.success(), "{output:?}");
    let own = read(&tree, SERVER);
    assert!(own.contains("BEGIN CERTIFICATE") && own.contains("PRIVATE KEY"));
    assert_eq!(mode(&tree, SERVER), 0o640);
    // It would be due, if it were the authority's.
    tree.ok(&["https", "renew"]);
    assert_eq!(read(&tree, SERVER), own);
    assert!(tree.ok(&["https"]).contains("your own, valid until"));
    fs::remove_file(tree.path(SERVER)).unwrap();
    tree.ok(&["https", "renew"]);
    assert!(tree.ok(&["https"]).contains("renewed by itself"));
}

#[test]
fn a_setting_that_cannot_be_used_is_refused_with_its_line() {
    let tree = tree();
    tree.write(SETTINGS, "# x\nCOVALENT_HTTPS_PORT=https\n");
    let said = tree.refused(&["https", "renew", "--at-start"], 3);
    assert!(
        said.contains("https.env:2: COVALENT_HTTPS_PORT must be"),
        "{said}"
    );
    assert!(said.contains("systemctl restart covalent-https"), "{said}");
}
