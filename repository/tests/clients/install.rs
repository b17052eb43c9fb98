//! `install.sh` where it must do nothing. What it does is shown on machines.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use machine::Output;

use crate::fixture::{Fixture, output, said};

#[test]
fn cut_off_anywhere_it_does_nothing() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let script = fixture.text("install.sh")?;
    let last = "\nmain \"$@\"\n";
    ensure!(script.ends_with(last), "{script}");
    let part = fixture.path("part.sh");
    // With `main` whole in the last line, it is the whole script.
    for length in 0..script.len() - last.len() + "\nmai".len() {
        fs::write(&part, &script[..length])?;
        // Nothing that it calls is found; a call would be heard of.
        let output = output(Command::new("/bin/sh").arg(&part).env("PATH", "/nowhere"))?;
        let said = said(&output);
        let last_word = script[..length].rsplit('\n').next().unwrap_or_default();
        let harmless = said.lines().all(|line| {
            line.starts_with("exit status")
                || line.contains("Syntax error")
                || line.ends_with(&format!("{}: not found", last_word.trim()))
        });
        ensure!(harmless, "{length} bytes: {said}");
    }
    Ok(())
}

#[test]
fn it_names_the_key_and_the_address() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let script = fixture.text("install.sh")?;
    for needed in [&fixture.address, &fixture.fingerprints()?[0]] {
        ensure!(script.contains(needed), "{needed} is missing: {script}");
    }
    // Every placeholder is filled in.
    ensure!(script.replace("\"$@\"", "").find('@').is_none(), "{script}");
    Ok(())
}

/// Sources `install.sh` without its last line, as if on a machine of this family whose files are in
/// `folder`, and runs a script with its functions.
fn with_functions(fixture: &Fixture, shell: &str, family: &str, script: &str) -> Result<Output> {
    let functions = fixture.path("functions.sh");
    fs::write(
        &functions,
        fixture.text("install.sh")?.replace("\nmain \"$@\"\n", "\n"),
    )?;
    let folder = fixture.path("machine");
    let text = format!(
        ". {}
        identify() {{ family={family} system='a test'; }}
        id() {{ echo 0; }}
        name_files() {{ key={folder}/key source={folder}/source; }}
        {script}",
        functions.display(),
        folder = folder.display(),
    );
    // Who runs tests in the background has signals ignored, and a shell traps none of those.
    output(
        Command::new("env")
            .args(["--default-signal", shell, "-euc"])
            .arg(&text),
    )
}

/// What stands for any shell that a machine may have: Debian's and Ubuntu's, and that of the others.
const SHELLS: [&str; 2] = ["dash", "bash"];

#[test]
fn it_knows_keys_of_either_kind() -> Result<()> {
    for fixture in [Fixture::with_tiny()?, Fixture::with_key("ed25519", "sign")?] {
        fixture.publish_tiny("1-1")?;
        for shell in SHELLS {
            for family in ["apt", "dnf"] {
                let script =
                    "identify; work=$(mktemp -d); obtain_keys; rm -r \"$work\"; echo \"$found\"";
                let output = with_functions(&fixture, shell, family, script)?;
                ensure!(
                    output.success() && output.stdout.trim() == fixture.fingerprints()?[0],
                    "{shell} {family}: {}",
                    said(&output)
                );
            }
        }
    }
    Ok(())
}

#[test]
fn what_was_there_is_put_back_after_a_failure() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let (key, source) = (fixture.path("machine/key"), fixture.path("machine/source"));
    let own = "# The administrator was here.\n";
    let failures = [
        ("return 1", 1),
        ("kill -INT $$; sleep 0.1", 130),
        ("kill -TERM $$; sleep 0.1", 143),
        ("kill -HUP $$; sleep 0.1", 129),
    ];
    for shell in SHELLS {
        for (failure, status) in failures {
            let script = format!("keyring_package() {{ {failure}; }}; main --yes");
            let fail = || -> Result<()> {
                let output = with_functions(&fixture, shell, "apt", &script)?;
                ensure!(
                    output.code() == Some(status),
                    "{shell} {failure}: {}",
                    said(&output)
                );
                Ok(())
            };
            fs::create_dir(fixture.path("machine"))?;
            fail()?;
            ensure!(
                !source.exists(),
                "{shell} {failure}: {} is there",
                source.display()
            );
            fs::write(&key, "another key")?;
            fs::write(&source, own)?;
            fail()?;
            let found = (fs::read_to_string(&key)?, fs::read_to_string(&source)?);
            ensure!(
                found == ("another key".into(), own.into()),
                "{shell} {failure}: {found:?}"
            );
            fs::remove_dir_all(fixture.path("machine"))?;
        }
    }
    Ok(())
}

#[test]
fn a_source_that_was_edited_is_kept() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let script = "keyring_package() { :; }; main --yes";
    let (source, saved) = (
        fixture.path("machine/source"),
        fixture.path("machine/source.save"),
    );
    let run = || -> Result<String> {
        let output = with_functions(&fixture, "dash", "apt", script)?;
        ensure!(output.success(), "{}", said(&output));
        Ok(said(&output))
    };
    let about = format!("is kept as {}", saved.display());
    // The second time finds what the first has left.
    for _ in 0..2 {
        let said = run()?;
        ensure!(!said.contains(&about) && !saved.exists(), "{said}");
    }
    let placed = fs::read_to_string(&source)?;
    ensure!(placed == fixture.text("covalent.sources")?, "{placed}");
    let edited = placed.replace("Suites: stable", "Suites: testing");
    fs::write(&source, &edited)?;
    let said = run()?;
    ensure!(said.contains(&about), "{said}");
    let found = (fs::read_to_string(&saved)?, fs::read_to_string(&source)?);
    ensure!(found == (edited, placed), "{found:?}");
    Ok(())
}

/// What is on a machine: `os-release`, glibc's version, and that of `python3`.
type System<'a> = (&'a str, &'a str, &'a str);

/// What `identify` makes of it: the family, or why not.
fn identified(fixture: &Fixture, (release, library, python): System) -> Result<String> {
    let file = fixture.path("os-release");
    fs::write(&file, release)?;
    let functions = fixture.path("functions.sh");
    let text = fixture.text("install.sh")?;
    fs::write(&functions, text.replace("\nmain \"$@\"\n", "\n"))?;
    let script = format!(
        ". {}
        release={}
        machines='x86_64'
        getconf() {{ echo 'glibc {library}'; }}
        python_version() {{ echo '{python}'; }}
        uname() {{ echo x86_64; }}
        command() {{ :; }}
        identify
        echo \"$family\"",
        functions.display(),
        file.display()
    );
    Ok(output(Command::new("dash").args(["-euc", &script]))?.text())
}

#[test]
fn a_distribution_is_known_by_its_name_or_by_whom_it_is_like() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    for (system, word) in [
        (("ID=debian\nVERSION_ID=12", "2.36", "3.11"), "apt"),
        (("ID=debian", "2.41", "3.14"), "apt"),
        (("ID=debian\nVERSION_ID=11", "2.31", "3.9"), "Debian 12"),
        (
            ("ID=ubuntu\nVERSION_ID=20.04", "2.31", "3.8"),
            "Ubuntu 22.04",
        ),
        (("ID=rhel\nVERSION_ID=8.10", "2.28", "3.6"), "dnf"),
        (
            ("ID=ol\nID_LIKE=fedora\nVERSION_ID=9.4", "2.34", "3.9"),
            "dnf",
        ),
        (("ID=ol\nVERSION_ID=7.9", "2.17", "3.6"), "RHEL 8"),
        // Its own Python is 3.9, and python3.11 stands beside it.
        (
            ("ID=amzn\nID_LIKE=fedora\nVERSION_ID=2023", "2.34", "3.9"),
            "dnf",
        ),
        (
            (
                "ID=amzn\nID_LIKE='centos rhel fedora'\nVERSION_ID=2",
                "2.26",
                "3.7",
            ),
            "Amazon Linux 2023",
        ),
        (
            (
                "ID=linuxmint\nID_LIKE='ubuntu debian'\nVERSION_ID=21.3",
                "2.35",
                "3.10",
            ),
            "apt",
        ),
        (
            (
                "ID=linuxmint\nID_LIKE=ubuntu\nVERSION_ID=20.3",
                "2.31",
                "3.8",
            ),
            "Python 3.10 or newer",
        ),
        (
            ("ID=linuxmint\nID_LIKE=debian\nVERSION_ID=6", "2.36", "3.11"),
            "apt",
        ),
        (
            ("ID=raspbian\nID_LIKE=debian\nVERSION_ID=12", "2.36", "3.11"),
            "apt",
        ),
        (
            (
                "ID=scientific\nID_LIKE='rhel centos fedora'\nVERSION_ID=7",
                "2.17",
                "3.6",
            ),
            "glibc 2.28",
        ),
        (
            ("ID=arch", "2.42", "3.14"),
            "the packages are for Debian 12",
        ),
        (
            ("ID=alpine\nVERSION_ID=3.22", "", "3.12"),
            "the packages are for Debian 12",
        ),
    ] {
        let said = identified(&fixture, system)?;
        let is_family = ["apt", "dnf"].contains(&word);
        let right = if is_family {
            said.trim() == word
        } else {
            said.starts_with("install.sh: ") && said.contains(word)
        };
        ensure!(right, "{system:?}: {said}");
    }
    Ok(())
}
