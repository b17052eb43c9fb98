//! `apply`: what it makes, and what it leaves alone.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::tree::Tree;

#[test]
fn the_first_application_builds_and_the_second_does_nothing() {
    let tree = Tree::new();
    let said = tree.ok(&["apply"]);
    let ready = "opt/virtualenvs/covalent is ready: 1 packages, Python";
    let ready = format!("{ready} {}", tree.python());
    assert!(said.contains(&ready), "{said}");
    let active = tree.active();
    assert_eq!(active.parent(), Some(Path::new(".covalent")));
    let environment = tree.path("opt/virtualenvs").join(&active);
    assert_eq!(
        fs::read_to_string(environment.join("constraints.txt")).unwrap(),
        "covalent==0.240.0\n"
    );

    let calls = tree.uv_calls();
    assert!(tree.ok(&["apply"]).contains("nothing to do"));
    assert_eq!(tree.ok(&["apply", "--at-start"]), "");
    assert_eq!((tree.active(), tree.uv_calls()), (active, calls));
    assert_eq!(
        tree.generations(),
        1,
        "no cache and no unfinished folder stays"
    );
}

#[test]
fn only_the_configured_number_of_generations_stays() {
    let tree = Tree::new();
    for numpy in ["numpy<1", "numpy<2", "numpy<3"] {
        tree.write("etc/covalent/requirements.d/local.txt", numpy);
        tree.ok(&["apply"]);
    }
    assert_eq!(tree.generations(), 2);
    tree.write("etc/covalent/covalentctl.toml", "generations = 1\n");
    tree.write("etc/covalent/requirements.d/local.txt", "numpy<4");
    tree.ok(&["apply"]);
    assert_eq!(tree.generations(), 1);
}

#[test]
fn a_failed_build_changes_nothing_and_is_remembered_until_one_succeeds() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    let active = tree.active();
    tree.write(
        "usr/share/covalent/covalent.lock",
        &tree.pin("covalent", "0.241.0"),
    );
    tree.write("uv-fails", "Hash mismatch for `click==8.5.1`");

    let said = tree.refused(&["apply"], 7);
    assert!(
        said.contains("click==8.5.1") && said.contains("Next: "),
        "{said}"
    );
    assert_eq!((tree.active(), tree.generations()), (active.clone(), 1));
    assert!(
        tree.ok(&["status"])
            .contains("the newest environment could not be made")
    );

    let calls = tree.uv_calls();
    let said = tree.ok(&["apply", "--at-start"]);
    assert!(
        said.contains("warning") && said.contains("click==8.5.1"),
        "{said}"
    );
    assert_eq!(
        tree.uv_calls(),
        calls,
        "what is hopeless is not tried at every start"
    );
    let said = tree.ok(&["apply", "--transaction"]);
    assert!(said.contains("the environment is unchanged"), "{said}");
    assert!(tree.uv_calls() > calls);
    assert_eq!(tree.active(), active);

    fs::remove_file(tree.path("uv-fails")).unwrap();
    tree.ok(&["apply"]);
    assert_ne!(tree.active(), active);
    assert!(!tree.ok(&["status"]).contains("could not be made"));
}

#[test]
fn without_an_environment_a_transaction_fails_too() {
    let tree = Tree::new();
    tree.write("uv-fails", "No space left on device (os error 28)");
    for arguments in [
        &["apply"][..],
        &["apply", "--transaction"],
        &["apply", "--at-start"],
    ] {
        tree.refused(arguments, 6);
    }
    assert_eq!(tree.generations(), 0);
    assert!(!tree.path("opt/virtualenvs/covalent").exists());
}

#[test]
fn a_transaction_leaves_a_mark_when_the_server_has_to_be_restarted() {
    let tree = Tree::new();
    let mark = tree.path("var/lib/covalentctl/restart-requested");
    tree.ok(&["apply", "--transaction"]);
    assert!(mark.exists());
    fs::remove_file(&mark).unwrap();
    tree.ok(&["apply", "--transaction"]);
    assert!(!mark.exists());
}

/// The modules that are compiled.
fn compiled(tree: &Tree) -> Vec<String> {
    let bytecode = fs::read_dir(tree.site_packages().join("__pycache__")).unwrap();
    let names = bytecode.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .map(|name| name.split('.').next().unwrap().into())
        .collect();
    names.sort();
    names
}

#[test]
fn only_before_a_first_start_are_modules_left_to_compile_and_the_next_application_does() {
    let tree = Tree::new();
    tree.write("var/lib/covalentctl/first-installation", "");
    // Of these, the list of modules that the server loads has the first.
    tree.write("etc/covalent/requirements.d/local.txt", "six\n");
    tree.ok(&["apply", "--transaction"]);
    assert_eq!(compiled(&tree), ["covalent"]);
    let active = tree.active();
    tree.ok(&["apply", "--transaction"]);
    assert_eq!(compiled(&tree), ["covalent", "six"]);
    let whole = fs::metadata(tree.site_packages().join("__pycache__")).unwrap();
    tree.ok(&["apply", "--transaction"]);
    let again = fs::metadata(tree.site_packages().join("__pycache__")).unwrap();
    assert_eq!(again.modified().unwrap(), whole.modified().unwrap());
    assert_eq!(tree.active(), active);

    tree.write("etc/covalent/requirements.d/local.txt", "six\nnumpy<1\n");
    tree.ok(&["apply", "--transaction"]);
    assert_eq!(compiled(&tree), ["covalent", "numpy", "six"]);
}

#[test]
fn modules_are_compiled_while_an_index_still_sends_others() {
    let tree = Tree::new();
    let lock = tree.pin("covalent", "0.240.0") + &tree.pin("six", "1.0");
    tree.write("usr/share/covalent/covalent.lock", &lock);
    let builds = tree.path("opt/virtualenvs/.covalent");
    // uv has unpacked Covalent where it is looked for, or this waits in vain.
    let is_compiled = move || {
        let entries = fs::read_dir(&builds).into_iter().flatten();
        let folders = entries.map(|entry| entry.unwrap().path());
        folders
            .map(|folder| folder.join("bytecode/covalent.pyc"))
            .any(|file| file.exists())
    };
    tree.index(move |file| {
        let begun = Instant::now();
        while file.starts_with("six") && !is_compiled() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "nothing is compiled"
            );
            thread::sleep(Duration::from_millis(20));
        }
    });
    tree.ok(&["apply"]);
    assert_eq!(tree.packages(), ["covalent-0.240.0", "six-1.0"]);
    let bytecode = |module: &str| {
        let folder = tree.site_packages().join("__pycache__");
        let mut files = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let start = format!("{module}.");
        let is_its = |file: &PathBuf| {
            file.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&start)
        };
        String::from_utf8_lossy(&fs::read(files.find(is_its).unwrap()).unwrap()).into_owned()
    };
    // It says where it was compiled.
    assert!(bytecode("covalent").contains("/var/cache/covalentctl/archive-v0/"));
    assert!(bytecode("six").contains("six.py"));
}

#[test]
fn the_launcher_is_compiled_once_and_again_when_a_package_brings_another() {
    let tree = Tree::new();
    let module = "usr/libexec/covalent/server/covalent_service/postgresql.py";
    let folder = tree.path(module).parent().unwrap().join("__pycache__");
    let bytecode = || {
        let mut files = fs::read_dir(&folder).unwrap();
        let file = files.next().unwrap().unwrap();
        assert!(files.next().is_none());
        (file.metadata().unwrap().ino(), file.path())
    };
    tree.ok(&["apply"]);
    let first = bytecode();
    tree.ok(&["apply"]);
    assert_eq!(bytecode(), first);

    let active = tree.active();
    tree.write(module, "x = 'another'\n");
    tree.ok(&["apply", "--transaction"]);
    let text = fs::read(bytecode().1).unwrap();
    assert!(String::from_utf8_lossy(&text).contains("another"));
    assert_eq!(tree.active(), active);
}

#[test]
fn without_a_service_that_is_to_start_the_first_transaction_leaves_nothing_to_compile() {
    let tree = Tree::new();
    tree.write("etc/covalent/requirements.d/local.txt", "six\n");
    tree.ok(&["apply", "--transaction"]);
    assert_eq!(compiled(&tree), ["covalent", "six"]);
}

#[test]
fn a_manifest_that_cannot_be_read_costs_nobody_the_environment_in_use() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    let active = tree.active();
    let manifest = tree
        .path("opt/virtualenvs")
        .join(&active)
        .join("manifest.json");
    fs::write(&manifest, "{\"from\": \"the future\"}").unwrap();
    tree.write(
        "uv-fails",
        "Because click was not found in the provided package locations",
    );
    tree.refused(&["apply"], 5);
    assert!(manifest.exists());
    assert_eq!(tree.active(), active);

    fs::remove_file(tree.path("uv-fails")).unwrap();
    tree.ok(&["apply"]);
    assert_ne!(tree.active(), active);
    assert_eq!(tree.generations(), 2);
}

#[test]
fn an_old_environment_that_cannot_be_removed_is_a_warning() {
    let tree = Tree::new();
    tree.write("etc/covalent/covalentctl.toml", "generations = 1\n");
    tree.ok(&["apply"]);
    let old = tree.active();
    // A process whose command line names it.
    let python = tree.path("opt/virtualenvs").join(&old).join("bin/python");
    let mut user = Command::new("sleep")
        .arg0(&python)
        .arg("60")
        .spawn()
        .unwrap();
    tree.write("etc/covalent/requirements.d/local.txt", "numpy<1");
    tree.ok(&["apply"]);
    user.kill().unwrap();
    user.wait().unwrap();
    assert_eq!(tree.generations(), 2, "an environment in use stays");

    let manifest = tree
        .path("opt/virtualenvs")
        .join(&old)
        .join("manifest.json");
    fs::remove_file(&manifest).unwrap();
    fs::create_dir_all(manifest.join("no-file")).unwrap();
    tree.write("etc/covalent/requirements.d/local.txt", "numpy<2");
    let said = tree.ok(&["apply", "--transaction"]);
    assert!(said.contains("could not be removed"), "{said}");
    assert!(tree.path("var/lib/covalentctl/restart-requested").exists());
    assert!(!tree.ok(&["status"]).contains("could not be made"));
}

#[test]
fn an_environment_made_by_hand_is_moved_aside() {
    let tree = Tree::new();
    tree.write("opt/virtualenvs/covalent/pyvenv.cfg", "by hand");
    let said = tree.ok(&["apply"]);
    let aside = said.split("it is now ").nth(1).unwrap().trim();
    assert_eq!(
        fs::read_to_string(Path::new(aside).join("pyvenv.cfg")).unwrap(),
        "by hand"
    );
    tree.active();
}

#[test]
fn an_environment_whose_interpreter_is_gone_is_made_again() {
    let tree = Tree::new();
    fs::rename(
        tree.path("usr/bin/python3"),
        tree.path("usr/bin/python3.11"),
    )
    .unwrap();
    symlink("python3.11", tree.path("usr/bin/python3")).unwrap();
    tree.ok(&["apply"]);
    let active = tree.active();

    fs::remove_file(tree.path("usr/bin/python3")).unwrap();
    fs::rename(
        tree.path("usr/bin/python3.11"),
        tree.path("usr/bin/python3.13"),
    )
    .unwrap();
    symlink("python3.13", tree.path("usr/bin/python3")).unwrap();
    tree.ok(&["apply", "--at-start"]);
    assert_ne!(tree.active(), active);

    fs::remove_file(tree.path("usr/bin/python3.13")).unwrap();
    for verb in [&["apply", "--at-start"][..], &["serve"]] {
        let said = tree.refused(verb, 4);
        assert!(said.contains("Python 3.10 to 3.14"), "{said}");
    }
}

#[test]
fn a_malformed_settings_file_is_named_with_line_and_column() {
    let tree = Tree::new();
    tree.write("etc/covalent/covalentctl.toml", "generations = \"many\"\n");
    let said = tree.refused(&["apply"], 3);
    assert!(said.contains("covalentctl.toml:1:15: "), "{said}");
    assert!(
        said.contains("invalid type: string \"many\", expected usize"),
        "{said}"
    );
}

#[test]
fn a_start_refuses_a_harmful_line_of_the_environment_file_and_warns_of_a_harmless_one() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    tree.write("etc/covalent/covalent.env", "COVALENT_SVC_PROT=48009\n");
    let said = tree.ok(&["apply", "--at-start"]);
    assert!(
        said.contains("covalent.env:1: COVALENT_SVC_PROT has no effect"),
        "{said}"
    );
    tree.write("etc/covalent/covalent.env", "# x\nCOVALENT_SVC_PORT=http\n");
    for verb in [&["apply", "--at-start"][..], &["serve"]] {
        let said = tree.refused(verb, 3);
        assert!(
            said.contains("covalent.env:2: COVALENT_SVC_PORT must be a port"),
            "{said}"
        );
    }
    tree.write("etc/covalent/covalent.env", "");
    tree.ok(&["apply", "--at-start"]);
    let python = tree.environment().join("bin/python");
    fs::remove_file(&python).unwrap();
    tree.program(python.to_str().unwrap(), "#!/bin/sh\necho served\n");
    assert_eq!(tree.ok(&["serve"]), "served\n");
}
