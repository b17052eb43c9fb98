//! `install.sh` where it must do nothing. What it does is shown on machines.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

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
