//! What the model does not show: obsolete keys, files that end up in images.

use std::path::Path;

use super::{Lints, items, text};
use crate::budget::Budget;
use crate::diagnostic::Report;
use crate::tree::Node;
use crate::yaml;

pub(super) fn check(lints: &mut Lints<'_>) {
    version(lints);
    for (name, service) in lints.services() {
        let Some(build) = service.get("build") else {
            continue;
        };
        let context = Path::new(text(build, "context"));
        for file in items(service.get("env_file")) {
            let path = file.get("path").unwrap_or(file);
            let inside = path
                .as_str()
                .is_some_and(|path| context.is_absolute() && Path::new(path).starts_with(context));
            if !inside {
                continue;
            }
            let message = format!(
                "the environment file of `{name}` is in the folder its image is built from"
            );
            lints.push("L0016", message, |problem| {
                problem
                    .at(path.value_place(), "`COPY . .` puts it into the image")
                    .at(build.place(), "this folder")
                    .help("name it in `.dockerignore`, or move it out of the folder")
            });
        }
    }
}

/// L0012: `version` in one of the stack files.
fn version(lints: &mut Lints<'_>) {
    for path in &lints.parts.files {
        let (Some(text), Some(index)) = (
            lints.parts.sources.text(path),
            lints.parts.sources.index(path),
        ) else {
            continue;
        };
        // It was read without errors before.
        let documents = yaml::parse(text, index, &mut Budget::default(), &mut Report::default());
        for node in documents
            .iter()
            .flatten()
            .filter_map(|document| document.get("version"))
        {
            let node: &Node = node;
            lints.push("L0012", "`version` has no meaning".to_owned(), |problem| {
                problem.at(node.place(), "obsolete").help("leave it out")
            });
        }
    }
}
