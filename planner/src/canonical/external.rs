//! `external: {name: …}`, the old way to name a resource that exists already.

use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Node, Path, Value};

/// Becomes `external: true` and `name`.
pub(super) fn canonical(node: &mut Node, path: &Path, report: &mut Report) {
    let Some(entries) = node.as_mapping_mut() else {
        return;
    };
    let Some(external) = entries.get_mut("external") else {
        return;
    };
    let Value::Mapping(old) = &mut external.value else {
        return;
    };
    let name = old.shift_remove("name");
    external.value = Value::Bool(true);
    let Some(name) = name else { return };
    let problem = Problem::warning(
        codes::EXTERNAL_NAME,
        format!("`{path}.external.name` is the old way to write `name`"),
    );
    report.push(
        problem
            .at(name.place(), "deprecated")
            .help("write `external: true` and `name` beside it"),
    );
    match entries.get("name") {
        Some(other) if *other != name => {
            let problem = Problem::error(codes::CONFLICT, format!("`{path}` has two names"));
            report.push(
                problem
                    .on(&name, "one here")
                    .on(other, "another here")
                    .help("use `name` only"),
            );
        }
        Some(_) => {}
        None => {
            entries.insert("name".to_owned(), name);
        }
    }
}
