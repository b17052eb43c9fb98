//! Writes the manual pages and the shells' completions into a folder, from the definitions of
//! the command line, and the pages of the files of settings. For scripts/build.

mod commented;
mod file;
mod roff;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::builder::Resettable;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use covalentctl::cli::{Arguments, exit_statuses};

use crate::roff::escape;

/// The files of section FILES.
const FILES: [(&str, &str); 10] = [
    (
        "/opt/virtualenvs/covalent",
        "the active environment, a link",
    ),
    (
        "/etc/covalent/covalent.env",
        "the environment of the server, covalent.env(5)",
    ),
    (
        "/etc/covalent/worker.env",
        "the environment of a worker, worker.env(5)",
    ),
    (
        "/etc/covalent/covalentctl.toml",
        "how environments are built, covalentctl.toml(5)",
    ),
    (
        "/etc/covalent/https.env",
        "how other machines reach the server, https.env(5) (package covalent-https)",
    ),
    (
        "/etc/covalent/https",
        "the certificate of HTTPS, its key, and the users with the hashes of their passwords",
    ),
    (
        "/etc/covalent/requirements.d/*.txt",
        "Python packages of your own, in the format of pip's requirement files",
    ),
    (
        "/etc/covalent/fleet",
        "certificates and keys of a fleet, and the server's list of workers",
    ),
    ("/var/lib/covalent", "the data of the server"),
    ("/var/lib/covalentctl", "what covalentctl remembers"),
];

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).context("which folder?")?;
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    // The table of exit statuses has a section of its own instead.
    let mut command = Arguments::command()
        .after_long_help(Resettable::Reset)
        .disable_help_subcommand(true);
    command.build();
    write_page(&command, &folder, &sections())?;
    write_pages_below(&command, &folder)?;
    for file in file::files() {
        let path = folder.join(format!("{}.5", file.name));
        fs::write(&path, file.page(&source()))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Arguments::command(), "covalentctl", &folder)
            .with_context(|| format!("writing the completions for {shell}"))?;
    }
    Ok(())
}

/// A page for each verb, and for each verb of a verb.
fn write_pages_below(command: &Command, folder: &Path) -> Result<()> {
    for verb in command.get_subcommands() {
        write_page(verb, folder, ".SH \"SEE ALSO\"\n.BR covalentctl (1)\n")?;
        write_pages_below(verb, folder)?;
    }
    Ok(())
}

/// A page for the program and one for each verb, as git has them.
fn write_page(command: &Command, folder: &Path, sections: &str) -> Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_string();
    let path = folder.join(format!("{name}.1"));
    let mut page = Vec::new();
    Man::new(command.clone())
        .title(name.to_uppercase())
        .source(source())
        .render(&mut page)
        .with_context(|| format!("rendering {name}"))?;
    page.extend_from_slice(sections.as_bytes());
    fs::write(&path, page).with_context(|| format!("writing {}", path.display()))
}

/// The program and its version.
fn source() -> String {
    let command = Arguments::command();
    let version = command.get_version().unwrap_or_default();
    format!("covalentctl {version}")
}

/// The sections of the program's page that clap knows nothing of.
fn sections() -> String {
    let mut text = String::from(".SH \"EXIT STATUS\"\n");
    for line in exit_statuses().lines().skip(1) {
        let (status, meaning) = line.trim().split_once("  ").unwrap_or((line, ""));
        text += &format!(".TP\n{status}\n{}\n", escape(meaning));
    }
    text += ".SH FILES\n";
    for (path, what) in FILES {
        text += &format!(".TP\n.I {}\n{}\n", escape(path), escape(what));
    }
    text + ".SH \"SEE ALSO\"\n.BR covalent.env (5),\n.BR covalentctl.toml (5),\n.BR systemctl (1),\n\
            .BR journalctl (1),\n.BR systemd.exec (5)\n"
}
