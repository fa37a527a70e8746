//! Reports of code quality for GitLab.
//!
//! <https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format>

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Note;

/// Entries of a report at most.
const MOST: usize = 10_000;

/// Adds notes to a report, which is made if need be. A note that is in it
/// already is not added again.
pub(super) fn add(file: &Path, notes: &[Note]) -> io::Result<()> {
    let mut entries: Vec<Value> = match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::other(format!("is not a report: {error}")))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for entry in notes.iter().map(entry) {
        let known = entries
            .iter()
            .any(|old| old["fingerprint"] == entry["fingerprint"]);
        if !known && entries.len() < MOST {
            entries.push(entry);
        }
    }
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut fresh = tempfile::NamedTempFile::new_in(dir.unwrap_or(Path::new(".")))?;
    fresh.write_all(&serde_json::to_vec_pretty(&entries)?)?;
    fresh.persist(file).map_err(|error| error.error)?;
    Ok(())
}

fn entry(note: &Note) -> Value {
    let (path, line) = match &note.place {
        Some((path, line)) => (path.display().to_string(), *line),
        // GitLab wants a place for everything.
        None => ("stack.yaml".to_owned(), 1),
    };
    let words = format!("{}\n{path}\n{}", note.code, note.message);
    let fingerprint: String = Sha256::digest(words.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({
        "description": note.message,
        "check_name": note.code,
        "fingerprint": fingerprint,
        "severity": if note.is_error { "critical" } else { "minor" },
        "location": {"path": path, "lines": {"begin": line}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_grows_and_repeats_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.json");
        let note = |code: &str| Note {
            is_error: true,
            code: code.to_owned(),
            message: "wrong".to_owned(),
            place: Some(("stack.yaml".into(), 3)),
        };
        add(&file, &[note("a"), note("b")]).unwrap();
        add(&file, &[note("b"), note("c")]).unwrap();
        let entries: Vec<Value> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let names: Vec<&str> = entries
            .iter()
            .map(|entry| entry["check_name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(entries[0]["location"]["lines"]["begin"], 3);
        std::fs::write(&file, "rubbish").unwrap();
        assert!(add(&file, &[note("d")]).is_err());
    }
}
