//! `status`: what it shows, and that its JSON is what docs/status.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::fleet;
use crate::tree::{Tree, busy_server};

const DOCUMENT: &str = include_str!("../../docs/status.md");

#[test]
fn the_status_is_the_environments() {
    let tree = Tree::new();
    assert!(tree.covalentctl(&["status"]).status.code() == Some(10));
    tree.ok(&["apply"]);
    let status: serde_json::Value = serde_json::from_str(&tree.ok(&["status", "--json"])).unwrap();
    assert_eq!(status["version"], 1);
    assert_eq!(status["environment"]["packages"]["covalent"], "0.240.0");
    assert_eq!(status["environment"]["source"], "wheelhouse");
    assert_eq!(status["environment"]["executors"][1], "local");
    assert_eq!(status["failure"], serde_json::Value::Null);
    for verb in ["status", "history"] {
        let said = tree.ok(&[verb]);
        assert!(said.contains(" packages from the wheelhouse"), "{said}");
    }
}

#[test]
fn the_address_alone_is_for_scripts() {
    let tree = Tree::new();
    assert_eq!(
        tree.ok(&["status", "--address"]),
        "http://localhost:48008\n"
    );
    let quoted = "COVALENT_SVC_PORT=\"48123\"\n";
    tree.write("etc/covalent/covalent.env", quoted);
    assert_eq!(
        tree.ok(&["status", "--address"]),
        "http://localhost:48123\n"
    );
}

/// A tree in which every field has a value that can have one there.
fn eventful() -> Tree {
    let tree = Tree::new();
    let plugin = "usr/share/covalent/requirements.d/covalent-any-plugin.lock";
    tree.write(plugin, &tree.pin("covalent-any-plugin", "1.0"));
    tree.ok(&["add", "numpy"]);
    let database = "var/lib/covalent/.local/share/covalent/dispatcher_db.sqlite";
    tree.database(database, "aa", "w");
    tree
}

#[test]
fn the_plugins_the_own_packages_and_the_database_are_shown() {
    let tree = eventful();
    let said = tree.ok(&["status"]);
    for line in [
        "     plugins  covalent-any-plugin 1.0\n",
        "own packages  numpy 1.0\n",
        "    database  /var/lib/covalent/.local/share/covalent/dispatcher_db.sqlite, revision aa\n",
    ] {
        assert!(said.contains(line), "{line:?} is missing: {said}");
    }
    tree.write(
        "etc/covalent/covalent.env",
        "COVALENT_DATABASE_URL=postgresql://me:s3cret@db/x\n",
    );
    let said = tree.ok(&["status"]) + &tree.ok(&["status", "--json"]);
    assert!(
        said.contains("    database  postgresql, as COVALENT"),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
}

/// The fields of the table in the document, and their types.
fn documented() -> BTreeMap<&'static str, &'static str> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, field, of_type, meaning, since, _] = cells[..] else {
            panic!("not four columns: {row}");
        };
        assert!(!meaning.is_empty() && since.starts_with("0."), "{row}");
        (field.trim_matches('`'), of_type)
    })
    .collect()
}

/// Checks a value and all below it against the document, and notes each field.
fn compare(
    path: &str,
    value: &Value,
    of_type: &str,
    fields: &BTreeMap<&'static str, &'static str>,
    seen: &mut BTreeSet<String>,
) {
    if let Some(of_type) = of_type.strip_suffix(" or null") {
        if !value.is_null() {
            compare(path, value, of_type, fields, seen);
        }
        return;
    }
    let elements = of_type.strip_prefix("list of ");
    let values = of_type.strip_prefix("map of ");
    match (value, of_type) {
        (Value::String(_), "string")
        | (Value::Bool(_), "boolean")
        | (Value::Number(_), "number") => {}
        (Value::Number(number), "integer") if number.is_u64() => {}
        (Value::Object(object), "object") => {
            for (name, value) in object {
                let field = match path {
                    "" => name.clone(),
                    _ => format!("{path}.{name}"),
                };
                let of_type = fields.get(field.as_str());
                let of_type = of_type.unwrap_or_else(|| panic!("{field} is not documented"));
                compare(&field, value, of_type, fields, seen);
                seen.insert(field);
            }
        }
        (Value::Array(list), _) if elements.is_some() => {
            for value in list {
                compare(path, value, elements.unwrap(), fields, seen);
            }
        }
        (Value::Object(map), _) if values.is_some() => {
            for value in map.values() {
                compare(path, value, values.unwrap(), fields, seen);
            }
        }
        _ => panic!("{path} is no {of_type}: {value}"),
    }
}

/// As the launcher writes it.
const INTERRUPTED: &str = "var/lib/covalent/interrupted.json";

#[test]
fn it_is_in_colour_on_a_terminal_alone_and_never_against_the_wish() {
    let tree = Tree::new();
    let command = tree.command(&["status"]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    // script(1) gives it a terminal.
    let on_a_terminal = |wish: &str| {
        let mut script = Command::new("script");
        script.args(["--quiet", "--command", &words.join(" "), "/dev/null"]);
        let variables = command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        script.envs(variables).env("NO_COLOR", wish);
        String::from_utf8(script.output().unwrap().stdout).unwrap()
    };
    assert!(on_a_terminal("").contains("environment  \x1b[31mnone\x1b[0m"));
    assert!(on_a_terminal("1").contains("environment  none"));
    let output = tree.covalentctl(&["status"]);
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("environment  none")
    );
}

#[test]
fn the_name_of_a_workflow_is_one_line_whatever_is_in_it() {
    let tree = Tree::new();
    tree.ok(&["apply"]);
    let now = jiff::Timestamp::now();
    let workflow = r#"{"dispatch_id": "b", "lattice_name": "v\n  service  active\u001b[2J"}"#;
    let interrupted = format!(r#"{{"when": "{now}", "workflows": [{workflow}]}}"#);
    tree.write(INTERRUPTED, &interrupted);
    let told = tree.ok(&["status"]);
    assert!(told.contains("b  v?  service  active?[2J\n"), "{told}");
}

#[test]
fn the_json_is_what_the_document_says() {
    let tree = eventful();
    let port = busy_server();
    let file = format!("COVALENT_SVC_PORT={port}\nCOVALENT_DISPATCHER_ADDR=127.0.0.1\n");
    tree.write("etc/covalent/covalent.env", &file);
    let now = jiff::Timestamp::now();
    let workflow = r#"{"dispatch_id": "b", "lattice_name": "v"}"#;
    let interrupted = format!(r#"{{"when": "{now}", "workflows": [{workflow}]}}"#);
    tree.write(INTERRUPTED, &interrupted);
    let line = fleet::add(&tree, "gpu1");
    let report = r#"{"workers": {}, "waiting": {"GPU": 1}}"#;
    tree.write("run/covalent/fleet.json", report);
    tree.write("uv-fails", "No space left on device (os error 28)");
    tree.refused(&["add", "scipy"], 6);
    tree.write("usr/share/covalent/covalent.lock", "covalent==0.241.0\n");
    tree.refused(&["apply"], 6);

    let fields = documented();
    let mut seen = BTreeSet::new();
    let printed = tree.ok(&["status", "--json"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    compare("", &printed, "object", &fields, &mut seen);
    let worker = fleet::worker();
    assert!(fleet::join(&worker, &line).status.success());
    let on_a_worker = worker.covalentctl(&["status", "--json"]).stdout;
    let on_a_worker: Value = serde_json::from_slice(&on_a_worker).unwrap();
    compare("", &on_a_worker, "object", &fields, &mut seen);
    let unseen: Vec<_> = fields
        .keys()
        .filter(|field| !seen.contains(**field))
        .collect();
    assert!(unseen.is_empty(), "not printed: {unseen:?} in {printed:#}");
}
