//! Everything that can be wrong with the server on this machine, looked at one by one.

use std::net::{TcpListener, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;

use crate::account::{self, Account};
use crate::api;
use crate::environment_file::{EnvironmentFile, Severity};
use crate::failure;
use crate::generation::{Generation, changes};
use crate::host::Host;
use crate::server;
use crate::settings::{Network, Settings};
use crate::state::{Held, State};
use crate::systemd;
use crate::wanted::Wanted;

/// How addresses of databases begin, and the packages of which SQLAlchemy 1.4 needs one for them,
/// the one to advise first (docs.sqlalchemy.org, "Engine Configuration").
const DRIVERS: [(&[&str], &[&str]); 2] = [
    (
        &["postgresql", "postgresql+psycopg2"],
        &["psycopg2-binary", "psycopg2"],
    ),
    (&["mysql", "mysql+mysqldb"], &["mysqlclient"]),
];

/// How something is.
#[derive(Debug)]
pub enum Verdict {
    /// As it should be.
    Good(String),
    /// It may be meant; the server runs.
    Doubtful {
        /// What is odd.
        cause: String,
        /// What to type if it is not meant.
        cure: String,
    },
    /// The server can't run, or not for long.
    Bad {
        /// What is wrong.
        cause: String,
        /// What to type.
        cure: String,
    },
}

/// One thing that was looked at.
#[derive(Debug)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
}

/// Looks at one thing.
type Look = fn(&Host) -> Verdict;

/// Looks at everything.
pub fn examine(host: &Host) -> Vec<Check> {
    let checks: [(&'static str, Look); 10] = [
        ("settings", settings),
        ("wheels", wheels),
        ("interpreter", interpreter),
        ("environment", environment),
        ("covalent.env", environment_file),
        ("database", database),
        ("account", service_account),
        ("localhost", localhost),
        ("service", service),
        ("port", port),
    ];
    checks
        .into_iter()
        .map(|(name, look)| Check {
            name,
            verdict: look(host),
        })
        .collect()
}

fn good(text: impl Into<String>) -> Verdict {
    Verdict::Good(text.into())
}

fn bad(cause: impl Into<String>, cure: impl Into<String>) -> Verdict {
    Verdict::Bad {
        cause: cause.into(),
        cure: cure.into(),
    }
}

fn doubtful(cause: impl Into<String>, cure: impl Into<String>) -> Verdict {
    Verdict::Doubtful {
        cause: cause.into(),
        cure: cure.into(),
    }
}

fn from_error(error: &anyhow::Error) -> Verdict {
    let next = failure::find(error).map_or("covalentctl apply", |failure| failure.next.as_str());
    bad(failure::describe(error), next)
}

fn settings(host: &Host) -> Verdict {
    match Settings::read(host) {
        Ok(_) => good(host.settings().display().to_string()),
        Err(error) => from_error(&error),
    }
}

fn wheels(host: &Host) -> Verdict {
    let never = Settings::read(host).is_ok_and(|settings| settings.network == Network::Never);
    if host.wheelhouse().is_dir() {
        good(format!(
            "{}; no network is needed",
            host.wheelhouse().display()
        ))
    } else if never {
        bad(
            format!(
                "{} is missing and network = \"never\": no environment can be built",
                host.wheelhouse().display()
            ),
            "install covalent-wheels",
        )
    } else {
        doubtful(
            "covalent-wheels is not installed; the next environment needs a package index",
            "install covalent-wheels, unless that is meant",
        )
    }
}

fn interpreter(host: &Host) -> Verdict {
    match wanted(host) {
        Ok(wanted) => good(format!(
            "Python {} ({})",
            wanted.interpreter.version_text(),
            wanted.interpreter.path.display()
        )),
        Err(error) => from_error(&error),
    }
}

fn environment(host: &Host) -> Verdict {
    let path = host.environment().display().to_string();
    let Some(generation) = Generation::active(host) else {
        return bad(
            format!("{path} is no environment"),
            "sudo covalentctl apply",
        );
    };
    if !generation.runs() {
        return bad(
            format!(
                "{path} was made for Python {} ({}), which is gone or is another version now",
                generation.manifest.interpreter.version_text(),
                generation.manifest.interpreter.path.display()
            ),
            "sudo covalentctl apply",
        );
    }
    if let Some(failed) = State::read(host).failure {
        return doubtful(
            format!(
                "it works, but a newer one could not be made: {}",
                failed.message
            ),
            failed.next,
        );
    }
    if !changes(&generation).is_none() {
        return doubtful(
            "it works, but packages in it were installed, replaced or removed by hand",
            "sudo covalentctl apply",
        );
    }
    let path = generation.path.display();
    match (wanted(host), State::read(host).held) {
        (
            _,
            Some(Held {
                generation: id,
                because: Some(failed),
                ..
            }),
        ) if id == generation.manifest.id => {
            doubtful(format!("it works, but {}", failed.message), failed.next)
        }
        (_, Some(held)) if held.generation == generation.manifest.id => {
            good(format!("{path}, kept by covalentctl rollback"))
        }
        (Ok(wanted), _) if wanted.fingerprint != generation.manifest.fingerprint => doubtful(
            "it works, but a lock, the interpreter or a requirement file has changed since",
            "sudo covalentctl apply",
        ),
        _ => good(path.to_string()),
    }
}

fn wanted(host: &Host) -> anyhow::Result<Wanted> {
    let settings = Settings::read(host)?;
    Wanted::read(host, &settings, &mut State::read(host))
}

fn environment_file(host: &Host) -> Verdict {
    let file = match EnvironmentFile::read(host) {
        Ok(file) => file,
        Err(error) => return from_error(&error),
    };
    if !file.path.exists() {
        return doubtful(
            format!(
                "{} is missing, so every default counts",
                file.path.display()
            ),
            "install -m 0640 /usr/share/covalent/covalent.env /etc/covalent/, unless that is meant",
        );
    }
    let lines = |severity| file.describe(severity).join("\n      ");
    let cure = "correct the file, then: systemctl restart covalent";
    let (harmful, harmless) = (lines(Severity::Harmful), lines(Severity::Harmless));
    if !harmful.is_empty() {
        bad(harmful, cure)
    } else if !harmless.is_empty() {
        doubtful(harmless, cure)
    } else {
        good(file.path.display().to_string())
    }
}

/// Whether the environment has what SQLAlchemy needs for the database that `covalent.env` names.
fn database(host: &Host) -> Verdict {
    let file = match EnvironmentFile::read(host) {
        Ok(file) => file,
        Err(error) => return from_error(&error),
    };
    let address = file.get(server::DATABASE_VARIABLE);
    // The address itself is not shown: it may hold a password.
    let Some((kind, _)) = address.and_then(|address| address.split_once("://")) else {
        return good("a file");
    };
    let Some((_, packages)) = DRIVERS.iter().find(|(kinds, _)| kinds.contains(&kind)) else {
        return good(kind);
    };
    let there = Generation::active(host).map(|generation| generation.manifest.packages);
    let has = |name: &&str| there.as_ref().is_none_or(|there| there.contains_key(*name));
    match packages.iter().any(has) {
        true => good(kind),
        false => bad(
            format!("{kind} needs the Python package {}", packages[0]),
            format!("sudo covalentctl add {}", packages[0]),
        ),
    }
}

fn service_account(host: &Host) -> Verdict {
    let data = host.data();
    let owner = std::fs::metadata(&data).map(|metadata| (metadata.uid(), metadata.gid()));
    match (Account::service(host), owner) {
        (Ok(Some(account)), Ok(owner)) if owner == (account.uid, account.gid) => {
            good(format!("{} owns {}", account::NAME, data.display()))
        }
        (Ok(Some(_)), Ok(_)) => bad(
            format!(
                "{} belongs to somebody else than {}",
                data.display(),
                account::NAME
            ),
            format!("chown covalent:covalent {}", data.display()),
        ),
        (Ok(Some(_)), Err(error)) => bad(
            format!("{}: {error}", data.display()),
            "systemd-tmpfiles --create covalent.conf",
        ),
        (Ok(None), _) => bad(
            format!("there is no account {}", account::NAME),
            "systemd-sysusers covalent.conf",
        ),
        (Err(error), _) => from_error(&error),
    }
}

fn localhost(_: &Host) -> Verdict {
    // Covalent listens on IPv4 only.
    let mut found = ("localhost", 0).to_socket_addrs().into_iter().flatten();
    if found.any(|address| address.is_ipv4() && address.ip().is_loopback()) {
        good("resolves to this machine")
    } else {
        bad(
            "localhost does not resolve to an IPv4 address of this machine, and the server needs it",
            "add the line \"127.0.0.1 localhost\" to /etc/hosts",
        )
    }
}

fn service(host: &Host) -> Verdict {
    let shown = systemd::show(host, &["ActiveState", "UnitFileState", "FragmentPath"]);
    let property = |name: &str| shown.get(name).map_or("", String::as_str);
    let fragment = property("FragmentPath");
    if shown.is_empty() {
        doubtful(
            "systemd is not running, so neither is the service",
            "covalentctl serve",
        )
    } else if property("UnitFileState") == "masked" {
        doubtful("it is masked", "systemctl unmask covalent")
    } else if fragment.starts_with("/etc/") {
        doubtful(
            format!("{fragment} stands in for the package's unit and gets none of its updates"),
            format!("rm {fragment} and use `systemctl edit covalent` for what you changed"),
        )
    } else {
        match property("ActiveState") {
            "active" => good("active"),
            "failed" => bad(
                "it has failed",
                "covalentctl logs -n 50 says why; then: systemctl restart covalent",
            ),
            other => doubtful(format!("it is {other}"), "systemctl start covalent"),
        }
    }
}

/// Whether the server answers at its port, or could have it.
fn port(host: &Host) -> Verdict {
    let address = server::Address::of(host);
    let Some(port) = address.port.parse::<u16>().ok() else {
        return bad(
            "COVALENT_SVC_PORT in covalent.env is no port",
            "correct the file, then: systemctl restart covalent",
        );
    };
    let shown = systemd::show(host, &["ActiveState"]);
    let active = shown
        .get("ActiveState")
        .is_some_and(|state| state == "active");
    let place = (address.host.as_str(), port);
    if active {
        return match api::running(&address, 1) {
            Ok(_) => good(format!("the server answers at {address}")),
            Err(error) => bad(
                format!("the service is active and gives no good answer: {error:#}"),
                "covalentctl logs -n 50 says why; then: systemctl restart covalent",
            ),
        };
    }
    match TcpListener::bind(place) {
        Ok(_) => good(format!("{port} is free")),
        Err(error) => bad(
            format!("{address} can't be used: {error}"),
            format!(
                "ss -ltnp 'sport = :{port}' names the process; end it, or set \
                     COVALENT_SVC_PORT in /etc/covalent/covalent.env"
            ),
        ),
    }
}
