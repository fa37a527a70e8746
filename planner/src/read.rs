//! Bytes to text to documents.

use std::path::Path;
use std::sync::Arc;

use crate::budget::Budget;
use crate::diagnostic::{Files, Problem, Report, codes};
use crate::source::Source;
use crate::tree::{Node, Span};
use crate::yaml;

/// The text of a file.
///
/// # Errors
/// Why not, in words.
pub(crate) fn text(source: &dyn Source, path: &Path) -> Result<Arc<str>, String> {
    let bytes = source.read(path).map_err(|error| error.to_string())?;
    if bytes.len() > yaml::MAX_FILE {
        return Err(format!("it has more than {} bytes", yaml::MAX_FILE));
    }
    String::from_utf8(bytes).map(Arc::from).map_err(|error| {
        format!(
            "it is not UTF-8 text (byte {})",
            error.utf8_error().valid_up_to()
        )
    })
}

/// All documents of a stack file, each of them a mapping; those that are not are
/// reported and left out. `None` when the file cannot be read at all. `at` is who asks.
pub(crate) fn documents(
    source: &dyn Source,
    path: &Path,
    at: Span,
    code: &'static str,
    files: &mut Files,
    budget: &mut Budget,
    report: &mut Report,
) -> Option<Vec<Node>> {
    let text = match text(source, path) {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("cannot read {}: {reason}", path.display());
            report.push(Problem::error(code, message).at(at, "named here"));
            return None;
        }
    };
    let file = files.add(path, text.clone());
    let how = match code {
        codes::EXTENDS => "extended from here",
        _ => "included from here",
    };
    files.brought_in(file, at, how);
    let mut documents = yaml::parse(&text, file, budget, report)?;
    documents.retain(|document| {
        let fits = document.as_mapping().is_some();
        if !fits {
            let message = format!(
                "a stack file is a mapping, this document is {}",
                document.kind()
            );
            let problem = Problem::error(codes::NOT_A_STACK, message).on(document, "this document");
            report.push(
                problem.help(
                    "a stack file starts with `services:` and the names of services below it",
                ),
            );
        }
        fits
    });
    Some(documents)
}
