//! What can be done with a machine.

use std::time::Duration;

use anyhow::Result;
use machine::Machine;

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_machine_is_a_booted_server() -> Result<()> {
    let machine = Machine::builder("bookworm").boot()?;

    assert_eq!(machine.ok("cat /proc/1/comm")?, "systemd\n");
    assert_eq!(
        machine.ok("hostname; pwd; id -un")?,
        "bookworm\n/root\nroot\n"
    );
    assert_eq!(
        machine.ok("getent ahostsv4 localhost | awk 'NR == 1 { print $1 }'")?,
        "127.0.0.1\n"
    );
    assert_eq!(machine.ok("systemctl --failed --no-legend")?, "");

    let alice = machine.as_user("alice", "id -un; pwd; printenv HOME; touch /etc/x")?;
    assert_eq!(alice.stdout, "alice\n/home/alice\n/home/alice\n");
    assert!(alice.stderr.contains("Permission denied"), "{alice}");
    let nobody = machine.as_user("bob", "true")?;
    assert_eq!(nobody.stderr, "there is no user bob on this machine\n");
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn scripts_take_input_stop_at_the_first_failure_and_keep_to_their_time() -> Result<()> {
    let machine = Machine::builder("bookworm").boot()?;

    let sorted = machine.script("sort").input("b\na\n").ok()?;
    assert_eq!(sorted, "a\nb\n");
    let error = machine
        .ok("echo before; false; echo after")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("--- stdout:\nbefore\n") && !error.contains("\nafter\n"),
        "{error}"
    );

    let error = machine
        .script("echo begun; sleep 987")
        .limit(Duration::from_secs(1))
        .run();
    let error = format!("{:#}", error.unwrap_err());
    assert!(
        error.contains("ran for more than 1s") && error.contains("begun"),
        "{error}"
    );
    assert_eq!(
        machine
            .sh("pgrep --full 'sleep 987' --ignore-ancestors || pgrep -x sleep")?
            .stdout,
        ""
    );

    machine.ok("sleep 300 & echo the daemon holds on to the output")?;
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn files_are_written_read_and_shown() -> Result<()> {
    let shown = tempfile::tempdir()?;
    std::fs::write(shown.path().join("hello"), "from outside\n")?;
    let machine = Machine::builder("bookworm")
        .bind_read_only(shown.path(), "/shown")
        .boot()?;

    machine.write_file("/etc/new/secret file", "words\n", 0o640)?;
    assert_eq!(machine.read_file("/etc/new/secret file")?, "words\n");
    assert_eq!(
        machine.ok("stat --format='%a %U' '/etc/new/secret file'")?,
        "640 root\n"
    );
    assert!(machine.exists("/etc/new")?);
    assert!(!machine.exists("/etc/old")?);

    assert_eq!(machine.read_file("/shown/hello")?, "from outside\n");
    assert!(
        machine
            .sh("touch /shown/x")?
            .stderr
            .contains("Read-only file system")
    );
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn machines_share_no_network_with_the_host_or_each_other() -> Result<()> {
    let first = Machine::builder("bookworm").boot()?;
    let second = Machine::builder("bookworm").beside(&first).boot()?;

    assert!(
        first
            .sh("curl --silent --show-error http://198.51.100.1/")?
            .stderr
            .contains("connect")
    );
    for machine in [&first, &second] {
        machine.write_file("/srv/name", machine.name(), 0o644)?;
        machine.ok("systemd-run --quiet --working-directory=/srv python3 -m http.server 8787")?;
    }
    for machine in [&first, &second] {
        let fetch = || machine.ok("curl --silent --show-error --fail http://localhost:8787/name");
        assert_eq!(
            machine::wait_until("the server", Duration::from_secs(20), fetch)?,
            machine.name()
        );
        let browser = machine
            .netns_command("curl")
            .args(["-s", "http://127.0.0.1:8787/name"])
            .output()?;
        assert_eq!(String::from_utf8(browser.stdout)?, machine.name());
        let address = format!("http://{}:8787/name", machine::ADDRESS);
        let neighbour = machine
            .neighbour_command("curl")?
            .args(["-s", &address])
            .output()?;
        assert_eq!(String::from_utf8(neighbour.stdout)?, machine.name());
    }
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn the_disk_survives_a_reboot_and_a_power_cut() -> Result<()> {
    let mut machine = Machine::builder("bookworm").boot()?;
    let identity = |machine: &Machine| machine.ok("cat /etc/machine-id");
    let before = identity(&machine)?;

    machine.ok("echo kept >/root/file; systemd-run --quiet --unit=bye --property=ExecStop='touch /root/stopped' sleep 900")?;
    machine.power_cut()?;
    assert_eq!(machine.read_file("/root/file")?, "kept\n");
    assert!(
        !machine.exists("/root/stopped")?,
        "a power cut stops nothing in order"
    );

    machine
        .ok("systemd-run --quiet --unit=bye --property=ExecStop='touch /root/stopped' sleep 900")?;
    machine.reboot()?;
    assert!(
        machine.exists("/root/stopped")?,
        "a shutdown stops services"
    );
    assert_eq!(identity(&machine)?, before);

    let console = machine.power_off()?;
    assert!(
        console.contains("Power Off") || console.contains("Power-Off"),
        "{console}"
    );
    Ok(())
}
