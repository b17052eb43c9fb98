//! Where the wheels come from when `covalent-wheels` is not installed.

use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use machine::{ADDRESS, Machine, NEIGHBOUR};
use tempfile::TempDir;

use machine::packages::{DIST, Family, boot, expect, run_workflows, status, wait_for_answer};

/// Installs a server without the wheels.
fn installation() -> String {
    let files = Family::Deb.files(DIST, &["covalent-common", "covalent"]);
    format!("apt-get install --yes {files} 2>&1")
}

/// The helper's settings.
const SETTINGS: &str = "/etc/covalent/covalentctl.toml";

#[test]
#[ignore = "boots machines: scripts/test"]
fn without_wheels_and_without_a_network_the_error_says_what_to_install() -> Result<()> {
    let machine = boot("bookworm")?;
    let refused = machine.sh(&installation())?;
    ensure!(refused.code() == Some(100), "{refused}");
    for part in [
        "could not get the wheels from the package index",
        "apt-get install covalent-wheels",
    ] {
        ensure!(
            refused.text().contains(part),
            "{part:?} is missing: {refused}"
        );
    }
    ensure!(machine.sh("covalentctl apply")?.code() == Some(5));

    // What it says to do mends it.
    machine.ok(&format!(
        "apt-get install --yes {DIST}/covalent-wheels_*.deb"
    ))?;
    wait_for_answer(&machine, 48008)
}

/// Where the index of these tests is on the machine.
const PORT: u16 = 8443;

/// The password to it. In no file but the settings, in no process list, in no output.
const PASSWORD: &str = "c0rrect-h0rse";

/// Serves the wheels of `covalent-wheels` from the machine's own address; see
/// tests/packages/index.py.
fn serve_wheels(machine: &Machine, options: &str) -> Result<()> {
    machine
        .ok(&format!(
            "dpkg-deb --fsys-tarfile {DIST}/covalent-wheels_*.deb | tar --extract --directory /srv
             systemd-run --quiet --unit index python3 -B /packages/index.py \
                 /srv/usr/share/covalent/wheelhouse {ADDRESS} {PORT} {options}"
        ))
        .map(drop)
}

/// The requests that the index has had.
fn requests(machine: &Machine) -> Result<usize> {
    Ok(machine
        .ok("journalctl --unit index --output cat")?
        .matches("GET /")
        .count())
}

fn source(machine: &Machine) -> Result<String> {
    let status = status(machine)?;
    Ok(status["environment"]["source"].to_string())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn an_index_serves_where_there_is_no_wheelhouse() -> Result<()> {
    let machine = boot("bookworm")?;
    serve_wheels(&machine, "")?;
    let settings = format!("[index]\nurl = \"http://{ADDRESS}:{PORT}/simple\"\n");
    machine.write_file(SETTINGS, &settings, 0o640)?;
    machine.ok(&installation())?;
    ensure!(source(&machine)? == "\"index\"");
    run_workflows(&machine, Some("tasks,sublattice"))?;

    // What may not be asked is not asked, whatever is wanted.
    let asked = requests(&machine)?;
    machine.write_file(SETTINGS, format!("network = \"never\"\n{settings}"), 0o640)?;
    let refused = machine.sh("covalentctl add toolz")?;
    expect(
        &refused,
        5,
        &["network = \"never\"", "Next: install covalent-wheels"],
    )?;
    ensure!(requests(&machine)? == asked, "the index was asked");
    run_workflows(&machine, Some("tasks"))
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn an_index_with_a_password_a_certificate_and_a_proxy_is_reached_and_the_password_kept()
-> Result<()> {
    let machine = boot("trixie")?;
    machine.ok(&format!(
        "mkdir /srv/tls; cd /srv/tls
         new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'
         $new -subj '/CN=an authority' -keyout authority.key -out authority.pem
         $new -subj '/CN=an index' -CA authority.pem -CAkey authority.key \\
             -addext subjectAltName=IP:{ADDRESS} -addext basicConstraints=critical,CA:FALSE \\
             -keyout index.key -out index.pem
         cat index.pem index.key > both.pem"
    ))?;
    machine.write_file("/srv/tls/password", format!("packages:{PASSWORD}"), 0o600)?;
    serve_wheels(
        &machine,
        "--password /srv/tls/password --tls /srv/tls/both.pem",
    )?;
    let proxy = Proxy::start(&machine)?;
    let index = format!("[index]\nurl = \"https://{ADDRESS}:{PORT}/simple\"\n");
    let proxied = format!("{index}proxy = \"http://{NEIGHBOUR}:{PROXY_PORT}\"\n");

    // One thing lacks after the other.
    machine.write_file(SETTINGS, &proxied, 0o640)?;
    let refused = machine.sh(&installation())?;
    expect(&refused, 100, &["certificate", "Next: "])?;
    let doctor = |said: &[&str]| expect(&machine.sh("covalentctl doctor")?, 11, said);
    doctor(&[
        "BAD   index: the package index is not trusted: ",
        "Next: name the authority's file with certificates = ...",
    ])?;
    let trusting = format!("{proxied}certificates = \"/srv/tls/authority.pem\"\n");
    machine.write_file(SETTINGS, &trusting, 0o640)?;
    expect(&machine.sh("covalentctl apply")?, 5, &["401"])?;
    doctor(&[
        "BAD   index: the package index asks for a login: ",
        "Next: correct username = ... and password = ...",
    ])?;
    let nobody = trusting.replace(&PROXY_PORT.to_string(), "9");
    machine.write_file(SETTINGS, nobody, 0o640)?;
    doctor(&[
        &format!("BAD   index: the proxy http://{NEIGHBOUR}:9 does not answer"),
        "Next: correct proxy = ... below [index] in /etc/covalent/covalentctl.toml",
    ])?;

    let credentials = format!("username = \"packages\"\npassword = \"{PASSWORD}\"\n");
    machine.write_file(SETTINGS, format!("{trusting}{credentials}"), 0o640)?;
    let watched = machine.ok(
        "systemd-run --quiet --unit watch sh -c \
             'while :; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr \"\\0\" \" \"; sleep 0.02; done >/srv/seen'
         dpkg --configure -a 2>&1; covalentctl apply 2>&1
         systemctl stop watch",
    )?;
    ensure!(source(&machine)? == "\"index\"");
    ensure!(
        proxy.said()?.contains(&format!("CONNECT {ADDRESS}:{PORT}")),
        "{}",
        proxy.said()?
    );
    wait_for_answer(&machine, 48008)?;
    run_workflows(&machine, Some("tasks"))?;

    let said = machine.ok(
        "covalentctl status --json; covalentctl history --json; covalentctl list; covalentctl doctor
         journalctl --no-pager --unit covalent",
    )?;
    ensure!(!watched.contains(PASSWORD) && !said.contains(PASSWORD));
    ensure!(said.contains("good  index: it answers"), "{said}");
    ensure!(
        machine
            .ok("cat /srv/seen")?
            .contains("uv --color never pip sync")
    );
    let found = machine.ok(&format!(
        "grep --recursive --files-with-matches {PASSWORD} \
             /srv/seen /etc /opt /var/lib/covalent* /var/cache /var/log /run || true"
    ))?;
    ensure!(
        found == format!("{SETTINGS}\n"),
        "the password is in:\n{found}"
    );
    Ok(())
}

/// The proxy's port at the machine's neighbour.
const PROXY_PORT: u16 = 3128;

/// Debian's tinyproxy on the machine's neighbour; dropped, it is ended.
struct Proxy {
    process: Child,
    folder: TempDir,
}

impl Proxy {
    fn start(machine: &Machine) -> Result<Proxy> {
        let folder = tempfile::tempdir()?;
        let (file, log) = (folder.path().join("conf"), folder.path().join("log"));
        std::fs::write(
            &file,
            format!(
                "Port {PROXY_PORT}\nListen {NEIGHBOUR}\nAllow {ADDRESS}\nConnectPort {PORT}\n\
                 LogLevel Connect\nLogFile \"{}\"\n",
                log.display()
            ),
        )?;
        let process = machine
            .neighbour_command("tinyproxy")?
            .args(["-d", "-c"])
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .context("tinyproxy could not be started; scripts/test installs it")?;
        Ok(Proxy { process, folder })
    }

    fn said(&self) -> Result<String> {
        std::fs::read_to_string(self.folder.path().join("log")).map_err(Into::into)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
