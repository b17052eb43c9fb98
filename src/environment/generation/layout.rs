//! The files of a generation beside its packages.

/// The manifest.
pub const MANIFEST: &str = "manifest.json";

/// Marks a generation whose modules are not all compiled. It works as it is; its modules are
/// never written again, only their bytecode is added.
pub const INCOMPLETE: &str = "bytecode-incomplete";

/// The names of the top-level modules that the server sought when it was loaded, found or not.
pub const SOUGHT: &str = "sought-modules.txt";

/// The resolved versions of a generation, beside its packages: a lock as those that are shipped.
pub const LOCK: &str = "own.lock";

/// The names and versions in an environment, for whoever installs something beside it.
pub const CONSTRAINTS: &str = "constraints.txt";

/// What is carried over, as a requirement file.
pub const CARRIED: &str = "carried.txt";

/// What stands beside the packages and is each generation's own.
pub const OWN: [&str; 6] = [MANIFEST, INCOMPLETE, SOUGHT, LOCK, CONSTRAINTS, CARRIED];
