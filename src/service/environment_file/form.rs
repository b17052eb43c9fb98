//! The files of variables: what each is called, and every variable that has an effect in it.

use super::value::Value;
use crate::system::role::Role;

/// A file of variables as it is shipped. Every such file is checked by its table, and has a manual
/// page that is made from both.
#[derive(Debug)]
pub struct Form {
    /// Its name, below `/etc/covalent` and, as it is shipped, below `/usr/share/covalent`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// The unit that reads it.
    pub(super) unit: &'static str,
    /// Its text.
    pub text: &'static str,
    /// Every variable that has an effect, and what it may hold.
    pub variables: &'static [(&'static str, Value)],
}

/// Every file of variables.
pub const FILES: &[&Form] = &[&SERVER, &WORKER, &HTTPS];

/// The server's.
pub(super) const SERVER: Form = Form {
    name: "covalent.env",
    about: "the environment of the Covalent server",
    unit: "covalent",
    text: include_str!("../../../systemd/covalent.env"),
    variables: VARIABLES,
};

/// A worker's.
pub(super) const WORKER: Form = Form {
    name: "worker.env",
    about: "the environment of a Covalent worker",
    unit: "covalent-worker",
    text: include_str!("../../../systemd/worker.env"),
    variables: WORKER_VARIABLES,
};

/// That of the package covalent-https.
pub const HTTPS: Form = Form {
    name: "https.env",
    about: "where other machines reach the Covalent server by https",
    unit: "covalent-https",
    text: include_str!("../../../systemd/https/https.env"),
    variables: HTTPS_VARIABLES,
};

impl Form {
    /// The one that the service of this role reads.
    pub(super) fn of(role: Role) -> &'static Form {
        match role {
            Role::Server => &SERVER,
            Role::Worker => &WORKER,
        }
    }

    /// Where the package has the file as it came, with every variable.
    pub fn shipped(&self) -> String {
        format!("/usr/share/covalent/{}", self.name)
    }

    /// What the variable `name` may hold, if it has an effect.
    pub fn value(&self, name: &str) -> Option<Value> {
        let mut variables = self.variables.iter();
        variables
            .find(|(known, _)| *known == name)
            .map(|(_, kind)| *kind)
    }
}

/// Every variable that has an effect on Covalent's server, and what it may hold.
const VARIABLES: &[(&str, Value)] = &[
    ("COVALENT_SVC_PORT", Value::Port),
    ("COVALENT_SERVER_IFACE_ANY", Value::Switch),
    ("COVALENT_DISPATCHER_ADDR", Value::Text),
    ("COVALENT_ALLOWED_HOSTS", Value::Text),
    ("COVALENT_LOCAL_GROUP", Value::Group),
    ("COVALENT_PROXY_SOCKET", Value::Path),
    ("COVALENT_UI_TERMINAL", Value::Switch),
    ("COVALENT_DASK_DASHBOARD", Value::Text),
    ("COVALENT_DATABASE", Value::Path),
    ("COVALENT_DATABASE_URL", Value::Text),
    ("COVALENT_CACHE_DB_URL", Value::Text),
    ("COVALENT_DATA_DIR", Value::Path),
    ("COVALENT_CACHE_DIR", Value::Path),
    ("COVALENT_LOGDIR", Value::Path),
    ("COVALENT_CONFIG_DIR", Value::Path),
    ("COVALENT_EXECUTOR_DIR", Value::Path),
    ("LOGLEVEL", Value::Level),
    ("COVALENT_LOG_TO_FILE", Value::Flag),
    ("COVALENT_PLUGIN_LOAD", Value::Flag),
    ("COVALENT_LOCAL_WORKERS", Value::Number),
    ("COVALENT_FLEET_LISTEN", Value::Place),
    ("COVALENT_FLEET_WAIT", Value::Time),
    ("COVALENT_DISABLE_DASK", Value::Switch),
    ("COVALENT_USE_OLD_DASK", Value::Flag),
    ("COVALENT_DEBUG_DB", Value::Flag),
    ("COVALENT_ENABLE_TASK_PACKING", Value::Flag),
    ("COVALENT_DISABLE_LEGACY_SUBLATTICES", Value::Flag),
    ("COVALENT_ASSET_CACHE_SIZE", Value::Count),
    ("COVALENT_HEARTBEAT_INTERVAL", Value::Count),
    ("COVALENT_HEARTBEAT_FILE", Value::Path),
    ("COVALENT_EXTRA_HEADERS", Value::Text),
    ("COVALENT_DISPATCH_BASE_ENDPOINT", Value::Text),
    ("COVALENT_DISPATCH_CACHE_DIR", Value::Path),
    ("COVALENT_RESULTS_DIR", Value::Path),
    ("XDG_CACHE_HOME", Value::Path),
    ("XDG_CONFIG_DIR", Value::Path),
    ("XDG_DATA_HOME", Value::Path),
    ("TMPDIR", Value::Path),
    ("SHELL", Value::Path),
    (
        "HOME",
        Value::Discouraged("every path of the server starts from the unit's own HOME"),
    ),
    (
        "PATH",
        Value::Discouraged("it must start with the environment's bin, as in the unit"),
    ),
];

/// Every variable that has an effect on a worker, and what it may hold.
const WORKER_VARIABLES: &[(&str, Value)] = &[
    ("COVALENT_SERVER", Value::Place),
    ("COVALENT_WORKER_PROCESSES", Value::Count),
    ("COVALENT_WORKER_MEMORY", Value::Memory),
    ("COVALENT_WORKER_RESOURCES", Value::Resources),
    ("COVALENT_WORKER_ADDRESS", Value::Address),
    ("COVALENT_WORKER_PORTS", Value::Ports),
    ("LOGLEVEL", Value::Level),
    ("TMPDIR", Value::Path),
    (
        "COVALENT_WORKER_NAME",
        Value::Discouraged("the certificate says it: covalentctl join"),
    ),
    (
        "HOME",
        Value::Discouraged("every path of the worker starts from the unit's own HOME"),
    ),
    (
        "PATH",
        Value::Discouraged("it must start with the environment's bin, as in the unit"),
    ),
];

/// Every variable of the proxy that lets other machines in.
const HTTPS_VARIABLES: &[(&str, Value)] = &[
    ("COVALENT_HTTPS_PORT", Value::Port),
    ("COVALENT_HTTPS_BIND", Value::Addresses),
    ("COVALENT_HTTPS_NAMES", Value::Names),
];
