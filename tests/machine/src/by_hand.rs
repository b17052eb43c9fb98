//! Covalent as its own instructions make it a service.

/// The unit of Covalent's guide, for the environment `/opt/virtualenvs/NAME`, the home `/var/lib/NAME`
/// and the variables in `/etc/NAME/covalent.env`.
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

[Install]
WantedBy=multi-user.target
"
    )
}
