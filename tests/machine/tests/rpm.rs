//! The RPM root takes packages as an RPM distribution does, with no network.

use anyhow::Result;
use machine::Machine;

/// A package with a unit and scriptlets that say what they were given.
const SPEC: &str = r"
Name: greeting
Version: 1
Release: 1
Summary: A package with a unit
License: Public-Domain
BuildArch: noarch
Requires: /bin/sh, python3 >= 3.10, systemd, shadow-utils, zstd, libc.so.6(GLIBC_2.28)(64bit)
Recommends: rsync
%description
A package with a unit.
%install
mkdir -p %{buildroot}/usr/lib/systemd/system
printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' >%{buildroot}/usr/lib/systemd/system/greeting.service
%files
/usr/lib/systemd/system/greeting.service
%post
systemctl daemon-reload
systemctl preset greeting.service
systemctl start greeting.service
%preun
echo preun $1
systemctl stop greeting.service
%posttrans
echo posttrans $1 $(systemctl is-active greeting.service)
";

#[test]
#[ignore = "boots machines: scripts/test"]
fn dnf_and_rpm_install_and_remove_with_scriptlets() -> Result<()> {
    let machine = Machine::builder("rpm").boot()?;
    machine.write_file("/root/greeting.spec", SPEC, 0o644)?;
    machine.ok("rpmbuild -bb --define '_topdir /root/build' /root/greeting.spec")?;
    machine.ok("mkdir /srv/packages; cp /root/build/RPMS/noarch/*.rpm /srv/packages")?;

    let said = machine.ok("dnf install --assumeyes /srv/packages/*.rpm 2>&1")?;
    assert!(said.contains("posttrans 1 active"), "{said}");
    let state = machine.sh("rpm --verify greeting; systemctl is-enabled greeting.service")?;
    assert_eq!(
        state.stdout, "disabled\n",
        "nothing is enabled without a preset"
    );
    let said = machine.ok("dnf remove --assumeyes greeting 2>&1")?;
    assert!(said.contains("preun 0"), "{said}");

    machine.ok("rpm --install /srv/packages/*.rpm && rpm --erase greeting")?;
    assert_eq!(
        machine.ok("rpm --query --all --queryformat '%{NAME}\n'")?,
        "debian-root\n"
    );

    machine.ok("createrepo_c --quiet /srv/packages")?;
    let repository = "[local]\nname=local\nbaseurl=file:///srv/packages\ngpgcheck=0\n";
    machine.write_file("/etc/yum.repos.d/local.repo", repository, 0o644)?;
    machine.ok("dnf install --assumeyes greeting")?;
    Ok(())
}
