//! Covalent as its own instructions make it a service.

/// The unit of Covalent's guide, for the environment `/opt/virtualenvs/NAME`, the home `/var/lib/NAME`
/// and the variables in `/etc/NAME/covalent.env`. The limit is not the guide's: Covalent opens a
/// connection for each task and closes none, and fails at a thousand without it.
pub fn unit(name: &str) -> String {
    format!(
        "\
[Unit]
Description=Covalent Dispatcher server
After=network.target

[Service]
Type=forking
Environment=VIRTUAL_ENV=/opt/virtualenvs/{name}
Environment=PATH=/opt/virtualenvs/{name}/bin:$PATH
Environment=HOME=/var/lib/{name}
Environment=COVALENT_SERVER_IFACE_ANY=1
EnvironmentFile=/etc/{name}/covalent.env
ExecStartPre=-/opt/virtualenvs/{name}/bin/covalent stop
ExecStart=/opt/virtualenvs/{name}/bin/covalent start
ExecStop=/opt/virtualenvs/{name}/bin/covalent stop
TimeoutStopSec=10
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"
    )
}
