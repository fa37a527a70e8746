//! Cases for tests, from a folder outside of the project.

use std::path::Path;

/// A stack file that the reference implementation accepts.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Variables it is read with.
    pub(crate) environment: std::collections::BTreeMap<String, String>,
}

/// All cases below a folder: those with `case.json`, `in/compose.yaml` and
/// `expected.json`.
#[expect(clippy::disallowed_methods, reason = "a test reads its cases")]
pub(crate) fn accepted(folder: &Path) -> Vec<Case> {
    let mut found = Vec::new();
    let mut queue = vec![folder.to_path_buf()];
    while let Some(folder) = queue.pop() {
        if folder.join("case.json").is_file() {
            if folder.join("expected.json").is_file()
                && let Ok(text) = std::fs::read_to_string(folder.join("in/compose.yaml"))
            {
                let about = std::fs::read(folder.join("case.json")).unwrap_or_default();
                let about: serde_json::Value = serde_json::from_slice(&about).unwrap_or_default();
                if about["argv"] != serde_json::json!(["-f", "compose.yaml"]) {
                    continue;
                }
                let environment = about["env"].as_object().into_iter().flatten();
                found.push(Case {
                    name: folder.display().to_string(),
                    text,
                    environment: environment
                        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
                        .collect(),
                });
            }
            continue;
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                queue.push(entry.path());
            }
        }
    }
    found
}
