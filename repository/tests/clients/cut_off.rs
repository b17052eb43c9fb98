//! A publication that a power cut ends, wherever that is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use machine::Output;

use crate::apt::Apt;
use crate::dnf::Dnf;
use crate::fixture::{Fixture, copy, output, said};
use crate::tiny;

/// The publisher with these arguments, killed before a step of putting things in their places.
pub fn cut_off(fixture: &Fixture, arguments: &[PathBuf], step: usize) -> Result<Output> {
    let mut publisher = fixture.publisher();
    publisher.env("COVALENT_PUBLISH_CUT_OFF", step.to_string());
    output(publisher.args(arguments))
}

#[test]
fn a_publication_that_was_cut_off_is_finished_by_the_next() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    // So that there is something to be removed, too.
    fixture.publish_tiny("1-2")?;
    fixture.age(&fixture.tree(), false)?;
    let mut arguments = vec![fixture.tree()];
    arguments.extend(tiny::packages(&fixture.path(""), "tiny", "2-1")?);
    let killed = cut_off(&fixture, &arguments, 0)?;
    ensure!(killed.code().is_none(), "{}", said(&killed));
    let begun = fixture.path("begun");
    copy(&fixture.tree(), &begun)?;

    let words = "a publication was interrupted; run its command again";
    let mut steps = 0;
    loop {
        fs::remove_dir_all(fixture.tree())?;
        copy(&begun, &fixture.tree())?;
        steps += 1;
        let killed = cut_off(&fixture, &arguments, steps)?;
        if killed.success() {
            break;
        }
        ensure!(killed.code().is_none(), "step {steps}: {}", said(&killed));
        let check = fixture.try_publish(&[Path::new("--check"), &fixture.tree()])?;
        ensure!(
            said(&check).contains(words),
            "step {steps}: {}",
            said(&check)
        );
        let finished = fixture.publish(&arguments)?;
        ensure!(
            finished.starts_with("nothing changed"),
            "step {steps}: {finished}"
        );
        let check = fixture.try_publish(&[Path::new("--check"), &fixture.tree()])?;
        ensure!(check.success(), "step {steps}: {}", said(&check));
        for name in ["tiny_2-1_all.deb", "tiny-2-1.noarch.rpm"] {
            fixture.only(&[name])?;
        }
    }
    // Every file that is new or another, or was removed.
    ensure!(steps > 30, "only {steps} steps");
    ensure!(fixture.find(&[".publication"])?.is_empty());
    let apt = Apt::new(&fixture, "apt")?;
    apt.update()?;
    let output = apt.download("tiny=2-1")?;
    ensure!(output.success(), "{}", said(&output));
    Dnf::new(&fixture, "dnf")?
        .ok(&["install", "tiny-2"])
        .map(drop)
}
