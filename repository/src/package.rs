//! A package that is to be published.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::tool::{output, tool};

/// A family of package managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// apt and dpkg.
    Deb,
    /// dnf and rpm.
    Rpm,
}

impl Family {
    /// The architectures that a repository has packages for.
    pub fn architectures(self) -> [&'static str; 3] {
        match self {
            Family::Deb => ["amd64", "arm64", "all"],
            Family::Rpm => ["x86_64", "aarch64", "noarch"],
        }
    }
}

/// A package file that was given, and found whole.
#[derive(Debug)]
pub struct Package {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its version with the revision, and with the epoch if there is one.
    pub version: String,
    /// Its architecture, as the family names it.
    pub architecture: String,
    /// Where it lies.
    pub path: PathBuf,
}

impl Package {
    /// Reads and checks the package at `path`.
    pub fn read(path: &Path) -> Result<Package> {
        let what = || format!("reading the package {}", path.display());
        let family = match path.extension().and_then(|extension| extension.to_str()) {
            Some("deb") => Family::Deb,
            Some("rpm") => Family::Rpm,
            _ => bail!("{} is neither a .deb nor a .rpm", path.display()),
        };
        let path = path.canonicalize().with_context(what)?;
        let fields = match family {
            Family::Deb => deb_fields(&path),
            Family::Rpm => rpm_fields(&path),
        };
        let fields = fields.with_context(what)?;
        let [name, version, architecture] = fields;
        let package = Package {
            family,
            name,
            version,
            architecture,
            path,
        };
        package.check().with_context(what)?;
        Ok(package)
    }

    /// Names and versions become paths, parts of commands and of a page.
    fn check(&self) -> Result<()> {
        let plain = |text: &str, more: &str| {
            text.starts_with(|first: char| first.is_ascii_alphanumeric())
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        ensure!(
            plain(&self.name, "+.-_"),
            "{:?} is not the name of a package",
            self.name
        );
        ensure!(
            plain(&self.version, "+.-_~^:"),
            "{:?} is not a version",
            self.version
        );
        let architectures = self.family.architectures();
        ensure!(
            architectures.contains(&self.architecture.as_str()),
            "it is for {}; the repository is for {}",
            self.architecture,
            architectures.join(", ")
        );
        Ok(())
    }

    /// Its name as a file in the repository.
    pub fn file_name(&self) -> String {
        let version = match self.version.split_once(':') {
            Some((_epoch, version)) => version,
            None => &self.version,
        };
        let (name, architecture) = (&self.name, &self.architecture);
        match self.family {
            Family::Deb => format!("{name}_{version}_{architecture}.deb"),
            Family::Rpm => format!("{name}-{version}.{architecture}.rpm"),
        }
    }
}

fn deb_fields(path: &Path) -> Result<[String; 3]> {
    let format = r"--showformat=${Package}\n${Version}\n${Architecture}\n";
    let show = tool("dpkg-deb", Path::new("/")).args(["--show", format]);
    let fields = output(show.args([path]), || "it is not a Debian package".into())?;
    let contents = tool("dpkg-deb", Path::new("/")).args(["--contents"]);
    output(contents.args([path]), || "it is damaged".into())?;
    lines(&fields)
}

fn rpm_fields(path: &Path) -> Result<[String; 3]> {
    let empty = tempfile::tempdir()?;
    let digests = tool("rpmkeys", empty.path()).args(["--checksig", "--nosignature"]);
    output(digests.args([path]), || {
        "it is not an RPM package, or is damaged".into()
    })?;
    let format = "%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\n";
    let fields = query(path, &format!("%{{NAME}}\n{format}%{{ARCH}}\n"))?;
    lines(&fields)
}

/// What rpm says of a package file.
fn query(path: &Path, format: &str) -> Result<String> {
    let empty = tempfile::tempdir()?;
    let query = tool("rpm", empty.path()).args(["--query", "--package", "--nosignature"]);
    output(query.args(["--queryformat", format]).args([path]), || {
        format!("asking rpm about {}", path.display())
    })
}

/// The digest of an RPM package that signing leaves as it is; it covers the payload's digest.
pub fn header_digest(path: &Path) -> Result<String> {
    query(path, "%{SHA256HEADER}")
}

fn lines(text: &str) -> Result<[String; 3]> {
    let lines: Vec<String> = text.lines().map(String::from).collect();
    lines
        .try_into()
        .map_err(|lines| anyhow::anyhow!("not a name, a version and an architecture: {lines:?}"))
}

/// The SHA-256 of a file, in hexadecimal digits.
pub fn sha256(path: &Path) -> Result<String> {
    let sum = tool("sha256sum", Path::new("/"))
        .args(["--binary", "--"])
        .args([path]);
    let line = output(sum, || format!("reading {}", path.display()))?;
    let digest = line.split_whitespace().next().unwrap_or_default();
    // A backslash before it says that the name had to be quoted.
    Ok(digest.trim_start_matches('\\').to_string())
}
