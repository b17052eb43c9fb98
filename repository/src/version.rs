//! The order of versions, as the package managers see it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use crate::package::Family;
use crate::tool::{output, tool};

/// The place of each version in the order of the family; the newest is 0.
pub fn ranks<'a>(
    family: Family,
    versions: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, usize>> {
    let versions: BTreeSet<&str> = versions.collect();
    if versions.len() < 2 {
        return Ok(versions.into_iter().map(String::from).zip(0..).collect());
    }
    let command = match family {
        Family::Deb => tool("perl", Path::new("/"))
            .args(["-MDpkg::Version", "-e"])
            .args([
                r#"print "$_\n" for sort { version_compare($b, $a) } @ARGV"#,
                "--",
            ])
            .args(&versions),
        // Versions hold no quotation mark: package.rs sees to that.
        Family::Rpm => {
            let quoted: Vec<String> = versions.iter().map(|text| format!("\"{text}\"")).collect();
            tool("rpm", Path::new("/")).args([
                "--eval",
                &format!(
                    "%{{lua: local all = {{{}}} \
                     table.sort(all, function(a, b) return rpm.vercmp(a, b) > 0 end) \
                     print(table.concat(all, \"\\n\"))}}",
                    quoted.join(",")
                ),
            ])
        }
    };
    let sorted = output(command, || "comparing versions".into())?;
    Ok(sorted.lines().map(String::from).zip(0..).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newest first.
    fn sorted(family: Family, versions: &[&str]) -> Vec<String> {
        let ranks = ranks(family, versions.iter().copied()).unwrap();
        let mut sorted: Vec<String> = ranks.keys().cloned().collect();
        sorted.sort_by_key(|version| ranks[version]);
        sorted
    }

    #[test]
    fn the_order_is_that_of_the_package_managers() {
        let versions = ["1.0~rc1-1", "1.0-2", "1.0-10", "1.0-1"];
        let expected = ["1.0-10", "1.0-2", "1.0-1", "1.0~rc1-1"];
        assert_eq!(sorted(Family::Deb, &versions), expected);
        assert_eq!(sorted(Family::Rpm, &versions), expected);
    }

    #[test]
    fn one_version_is_in_order() {
        assert!(sorted(Family::Deb, &[]).is_empty());
        assert_eq!(sorted(Family::Rpm, &["1-1"]), ["1-1"]);
    }
}
