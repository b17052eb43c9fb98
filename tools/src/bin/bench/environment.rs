//! What keeping an environment costs on a machine that has one.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::{ADDRESS, Machine};

use machine::packages::{DIST, Family, UPGRADE, boot};

use crate::report::{Step, report, time, verdict};

/// How often what takes milliseconds is done.
const REPETITIONS: u32 = 20;

/// A mirror that is a continent away: seconds before each answer, bytes a second in all.
const MIRROR: &str = "--latency 0.05 --rate 20000000";

/// pip takes a minute from such a mirror.
const LIMIT: Duration = Duration::from_secs(900);

/// Measures each beside its peer.
pub fn compare() -> Result<()> {
    let machine = boot("bookworm")?;
    Family::Deb.install(&machine, DIST)?;
    downtime(&machine)?;
    // What follows is about the environment alone: a stopped server is not restarted.
    machine.ok("systemctl stop covalent")?;
    full_build(&machine)?;
    one_package(&machine)?;
    nothing_to_do(&machine)?;
    from_a_mirror(&machine)
}

/// For how long nobody answers when the packages are upgraded.
fn downtime(machine: &Machine) -> Result<()> {
    machine.ok(
        "systemd-run --quiet --unit watch sh -c \
             'while :; do curl --silent --fail --max-time 1 --output /dev/null \
                  \"http://localhost:48008/api/v1/dispatches/list?count=1\" || date +%s.%N >>/root/silent
              sleep 0.02; done'",
    )?;
    machine.ok("echo >>/etc/covalent/requirements.d/local.txt toolz")?;
    let upgrade = time("apt-get install of the next revision", || {
        Family::Deb.install(machine, UPGRADE)
    })?;
    machine.ok("systemctl stop watch")?;
    let silent = seconds(
        machine,
        "sed -n '1h;$!d;G;s/\\n/ /p' /root/silent | awk '{print $1 - $2}'",
    )?;
    let restart = time("systemctl restart covalent", || {
        machine.ok("systemctl restart covalent")
    })?;
    report(
        "an upgrade that builds a new environment",
        &[upgrade, restart],
    );
    println!("{silent:8.2} s  nobody answered; no migration was due");
    Ok(())
}

/// A build from the wheelhouse, beside copying the finished environment and compiling it.
fn full_build(machine: &Machine) -> Result<()> {
    let build = build(machine, "apply --rebuild")?;
    machine.ok(
        "cp --archive \"$(readlink --canonicalize /opt/virtualenvs/covalent)\" /opt/finished
         find /opt/finished -name __pycache__ -prune -exec rm -r {} +; sync",
    )?;
    let copy = timed(
        machine,
        "cp --archive of the finished environment, and sync",
        "cp --archive /opt/finished /opt/copied; sync --file-system /opt",
    )?;
    let compile = timed(
        machine,
        "python3 -m compileall with every core",
        "python3 -I -m compileall -q -j 0 /opt/copied/lib || true",
    )?;
    machine.ok("rm -r /opt/finished /opt/copied; sync")?;
    let floor = report("its floor", &[copy, compile]);
    let whole = report("a build from the wheelhouse", &[build]);
    verdict("a build, in times of its floor", whole / floor, 1.3);
    Ok(())
}

/// One package more, beside a whole build.
fn one_package(machine: &Machine) -> Result<()> {
    machine.ok("python3 -B /packages/wheel.py /srv/wheels greeter 1.0")?;
    machine.write_file(
        "/etc/covalent/covalentctl.toml",
        "generations = 2\n[index]\nwheels = [\"/srv/wheels\"]\n",
        0o640,
    )?;
    let whole = report("a whole build", &[build(machine, "apply --rebuild")?]);
    let used = || {
        seconds(
            machine,
            "du --summarize --bytes /opt/virtualenvs/.covalent | cut -f1",
        )
    };
    machine.ok("rm --recursive --force $(ls -d /opt/virtualenvs/.covalent/* | head -n -1)")?;
    let one = used()?;
    let more = report("a package more", &[build(machine, "add greeter")?]);
    let two = used()?;
    let less = report("a package less", &[build(machine, "remove greeter")?]);
    verdict(
        "a package more, in times of a whole build",
        more / whole,
        0.1,
    );
    verdict(
        "a package less, in times of a whole build",
        less / whole,
        0.1,
    );
    verdict(
        "what a second environment adds on the disk",
        two / one - 1.0,
        0.1,
    );
    Ok(())
}

fn build(machine: &Machine, verb: &'static str) -> Result<Step> {
    // What others have written is not to be waited for.
    machine.ok("sync")?;
    timed(machine, verb, &format!("covalentctl {verb}"))
}

/// Runs a command and takes the time on the machine: a test that waits for it looks rarely.
fn timed(machine: &Machine, what: &'static str, command: &str) -> Result<Step> {
    let script =
        format!("begin=$(date +%s%N)\n{command} 2>&1\necho \"$(($(date +%s%N) - begin))\"");
    let said = machine.script(&script).limit(LIMIT).ok().context(what)?;
    let (said, taken) = said
        .trim_end()
        .rsplit_once('\n')
        .unwrap_or(("", said.trim_end()));
    println!("\n{said}");
    Ok((what, Duration::from_nanos(taken.parse()?)))
}

/// What every start of the service costs.
fn nothing_to_do(machine: &Machine) -> Result<()> {
    // However many environments and packages there are.
    machine.ok("echo 'generations = 60' >/etc/covalent/covalentctl.toml
         cd /opt/virtualenvs/.covalent; last=$(ls | tail -n 1)
         for n in $(seq 50); do mkdir 2020-$n; cp $last/manifest.json 2020-$n/; done
         mkdir -p /usr/share/covalent/requirements.d
         for n in $(seq 400); do
             python3 -B /packages/wheel.py /srv/many many-$n 1.0
             echo many-$n
         done >/etc/covalent/requirements.d/many.txt
         echo '[index]\nwheels = [\"/srv/many\", \"/srv/wheels\"]' >>/etc/covalent/covalentctl.toml
         covalentctl apply")?;
    let script = format!(
        "for n in $(seq {REPETITIONS}); do covalentctl apply --at-start; done; date +%s.%N"
    );
    let taken = seconds(
        machine,
        &format!(
            "begin=$(date +%s.%N); end=$({script}); echo \"$end $begin\" | awk '{{print $1 - $2}}'"
        ),
    )? / f64::from(REPETITIONS);
    let memory = peak_memory(
        &machine.command("root", "covalentctl"),
        &["apply", "--at-start"],
    )?;
    verdict("an apply with nothing to do, in ms", taken * 1000.0, 20.0);
    verdict("its memory, in MB", memory, 10.0);
    machine.ok(
        "rm --recursive /opt/virtualenvs/.covalent/2020-* /etc/covalent/requirements.d/many.txt
         covalentctl apply",
    )?;
    Ok(())
}

/// The most memory that a program on the machine had resident, in MB.
fn peak_memory(command: &Command, arguments: &[&str]) -> Result<f64> {
    // GNU time: what a shell or Python starts counts its parent's memory as its own.
    let output = Command::new("/usr/bin/time")
        .arg("--format=%M")
        .arg(command.get_program())
        .args(command.get_args())
        .args(arguments)
        .output()
        .context("/usr/bin/time could not be started; apt-get install time")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let kilobytes: f64 = said.trim().parse().with_context(|| said.to_string())?;
    Ok(kilobytes / 1000.0)
}

/// From a package index that is far away, beside pip.
fn from_a_mirror(machine: &Machine) -> Result<()> {
    machine.ok(&format!(
        "mkdir /srv/mirror; cp /usr/share/covalent/wheels/* /usr/share/covalent/wheelhouse/* /srv/mirror/
         systemd-run --quiet --unit mirror \
             python3 -B /packages/index.py /srv/mirror {ADDRESS} 8000 {MIRROR}
         mv /usr/share/covalent/wheelhouse /root/wheelhouse"
    ))?;
    let settings = format!("[index]\nurl = \"http://{ADDRESS}:8000/simple\"\n");
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    // Nor does pip have anything to remove.
    machine.ok("rm --recursive --force $(ls -d /opt/virtualenvs/.covalent/* | head -n -1)")?;
    let ours = build(machine, "apply --rebuild")?;
    machine.ok("mv /root/wheelhouse /usr/share/covalent/wheelhouse
         cp --archive \"$(readlink --canonicalize /opt/virtualenvs/covalent)\" /opt/with-pip
         cd /opt/with-pip; grep -v ^pip== constraints.txt | cut -d= -f1 | xargs bin/python -m pip uninstall --quiet --yes")?;
    let install = timed(
        machine,
        "pip install --require-hashes of the same lock",
        &format!(
            "/opt/with-pip/bin/python -m pip install --quiet --require-hashes --only-binary :all: \
                 --index-url http://{ADDRESS}:8000/simple --trusted-host {ADDRESS} \
                 -r /usr/share/covalent/covalent.lock"
        ),
    )?;
    let ours = report("a build from a mirror 50 ms away with 20 MB/s", &[ours]);
    let pip = report("pip from the same mirror", &[install]);
    verdict("a build from a mirror, in times of pip", ours / pip, 0.25);
    Ok(())
}

/// The number that a script prints.
fn seconds(machine: &Machine, script: &str) -> Result<f64> {
    let said = machine.ok(script)?;
    said.trim()
        .parse()
        .with_context(|| format!("{said:?} is not a number"))
}
