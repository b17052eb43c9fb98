//! Boots a disposable machine by hand.

use std::env;
use std::io::{IsTerminal, stdin};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use machine::Machine;

const USAGE: &str = "\
Boots a disposable machine, runs something in it, and leaves nothing behind.

  machine boot SUITE [OPTIONS] -- COMMAND [ARGUMENT...]
  machine shell SUITE [OPTIONS]

SUITE is bookworm, trixie, sid, bullseye, rpm, or the path of a root file system.

  --host-network        share the host's network (else: one that leads nowhere)
  --bind HOST[:INSIDE]  show a file or directory of the host, read-only
  --user NAME           be NAME instead of root; each root has a user alice
";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Request {
    suite: String,
    host_network: bool,
    binds: Vec<(String, String)>,
    user: String,
    command: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("machine: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let request = parse(&arguments).context("type: machine --help")?;
    let mut builder = Machine::builder(&request.suite);
    if request.host_network {
        builder = builder.host_network();
    }
    for (host, inside) in &request.binds {
        builder = builder.bind_read_only(host, inside);
    }
    let machine = builder.boot()?;
    let status = machine
        .command(&request.user, &request.command[0])
        .args(&request.command[1..])
        .status()
        .context("cannot enter the machine")?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}

fn parse(arguments: &[String]) -> Result<Request> {
    let mut arguments = arguments.iter().cloned();
    let verb = arguments.next().context("boot or shell?")?;
    let suite = arguments.next().context("which suite?")?;
    let mut request = Request {
        suite,
        host_network: false,
        binds: Vec::new(),
        user: "root".into(),
        command: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--host-network" => request.host_network = true,
            "--bind" => {
                let bind = arguments.next().context("--bind what?")?;
                let (host, inside) = bind.split_once(':').unwrap_or((&bind, &bind));
                request.binds.push((host.into(), inside.into()));
            }
            "--user" => request.user = arguments.next().context("--user who?")?,
            "--" => request.command = arguments.by_ref().collect(),
            other => bail!("{other} is no option"),
        }
    }
    match (verb.as_str(), request.command.is_empty()) {
        ("boot", false) => {}
        ("shell", true) => request.command = shell(),
        ("boot", true) => bail!("there is no command after --"),
        ("shell", false) => bail!("shell takes no command"),
        _ => bail!("{verb} is neither boot nor shell"),
    }
    Ok(request)
}

/// A login shell; on a terminal of the machine's own, without which it could
/// not control jobs, and Ctrl-C would end the machine.
fn shell() -> Vec<String> {
    let words: &[&str] = if stdin().is_terminal() {
        &[
            "script",
            "--quiet",
            "--return",
            "--command",
            "exec bash -l",
            "/dev/null",
        ]
    } else {
        &["bash", "-l"]
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn all_options_are_taken() {
        let request = parse(&words(
            "boot sid --host-network --bind /a --bind /b:/c --user alice -- ls -l",
        ));
        assert_eq!(
            request.unwrap(),
            Request {
                suite: "sid".into(),
                host_network: true,
                binds: vec![("/a".into(), "/a".into()), ("/b".into(), "/c".into())],
                user: "alice".into(),
                command: words("ls -l"),
            }
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "boot",
            "boot sid",
            "boot sid --",
            "boot sid -v -- ls",
            "start sid",
            "shell sid -- ls",
        ] {
            assert!(parse(&words(line)).is_err(), "{line}");
        }
    }
}
