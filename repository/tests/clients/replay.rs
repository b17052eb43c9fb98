//! A web host that hands back what was published once, and is not the latest.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::adversary::Verb;
use crate::fixture::{Fixture, copy, said};

#[test]
fn an_older_tree_is_known_by_what_is_kept_beside_the_keys() -> Result<()> {
    let fixture = Fixture::with_tiny()?;
    let (tree, older, newer) = (fixture.tree(), fixture.path("older"), fixture.path("newer"));
    copy(&tree, &older)?;
    fixture.publish_tiny("2-1")?;
    let refused = |verb: Verb, tree: &Path, words: &str| -> Result<()> {
        let output = verb.run(&fixture, tree, &[])?;
        let said = said(&output);
        ensure!(
            output.code() == Some(1) && said.contains(words),
            "{verb:?}: {said}"
        );
        ensure!(said.contains("--adopt"), "{verb:?}: {said}");
        Ok(())
    };
    for verb in Verb::ALL {
        refused(verb, &older, "an older tree was put back")?;
    }
    let empty = fixture.path("empty");
    let options = ["--insecure-http", "--address", &fixture.address];
    let output = fixture.try_publish(&[&options[..], &[&empty.display().to_string()]].concat())?;
    ensure!(
        said(&output).contains("empty is empty. Take the latest"),
        "{}",
        said(&output)
    );
    // Another repository's, with the same key.
    let elsewhere = [
        "--check",
        "--address",
        "https://x.example.org",
        &tree.display().to_string(),
    ];
    let output = fixture.try_publish(&elsewhere)?;
    ensure!(
        said(&output).contains("and not for https://x.example.org"),
        "{}",
        said(&output)
    );

    // Without it, the older tree is as good as the newer, as long as apt would trust it.
    let kept = fixture.keys().join("covalent-published");
    let remembered = fs::read(&kept)?;
    fs::remove_file(&kept)?;
    let output = Verb::Check.run(&fixture, &older, &[])?;
    ensure!(output.success(), "{}", said(&output));
    copy(&tree, &newer)?;
    fixture.age(&newer, true)?;
    for verb in Verb::ALL {
        refused(verb, &newer, "more than 30 days ago")?;
    }
    // What was brought back from a backup is published if that is meant.
    fs::write(&kept, remembered)?;
    fixture.publish(&[Path::new("--resign"), Path::new("--adopt"), &older])?;
    let output = Verb::Check.run(&fixture, &older, &[])?;
    ensure!(output.success(), "{}", said(&output));
    refused(Verb::Check, &tree, "an older tree was put back")
}
