//! One run of the whole pipeline over any bytes, for the fuzzer and for the short
//! run with fixed seeds in the tests.

use stack_planner::{Diagnostic, LoadOptions, Loaded, MemorySource, load};

/// Bytes of one input; the limits of the planner are far above.
pub const LONGEST: usize = 64 << 10;

/// Diagnostics of one load at most, with the one that says there are more.
const MOST: usize = 201;

/// Bytes of the output for each byte of input at most, and for none.
const GROWTH: (usize, usize) = (2_000, 16 << 20);

/// Loads a stack in several ways, makes everything of it that can be made, and
/// checks what must always hold. The first file is `compose.yaml`, more follow after
/// lines `#@ name`.
///
/// # Panics
/// Something does not hold.
pub fn run(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let source = source(bytes);
    for variant in 0..4 {
        let loaded = load(&source, &options(variant));
        check(&loaded, bytes.len());
    }
}

fn source(bytes: &[u8]) -> MemorySource {
    let mut source = MemorySource::new();
    let mut name = "compose.yaml".to_owned();
    let mut content = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let next = line.strip_prefix(b"#@ ").map(String::from_utf8_lossy);
        match next.as_deref().map(str::trim).filter(|next| is_path(next)) {
            Some(next) => {
                source = source.with(format!("/app/{name}"), std::mem::take(&mut content));
                name = next.to_owned();
            }
            None => content.extend_from_slice(line),
        }
    }
    source.with(format!("/app/{name}"), content)
}

fn is_path(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-');
    !name.is_empty() && name.len() < 100 && name.chars().all(word) && !name.contains("..")
}

fn options(variant: usize) -> LoadOptions {
    let mut options = LoadOptions::new(vec!["/app/compose.yaml".into()], "/app".into());
    options
        .environment
        .insert("IMAGE_TAG".to_owned(), "1".to_owned());
    match variant {
        1 => options.interpolate = false,
        2 => {
            options.files.push("/app/compose.override.yaml".into());
            options.profiles.push("*".to_owned());
        }
        3 => {
            options.normalize = false;
            options.check_consistency = false;
            options.resolve_paths = false;
            options.resolve_environment = false;
            options.prune = false;
        }
        _ => {}
    }
    options
}

fn check(loaded: &Loaded, length: usize) {
    assert_eq!(loaded.project.is_some(), !loaded.has_errors());
    let found = loaded.all_diagnostics();
    assert!(loaded.diagnostics.len() <= MOST, "{} findings", found.len());
    for finding in &found {
        places(loaded, finding);
    }
    let Some(project) = &loaded.project else {
        return;
    };
    let most = length * GROWTH.0 + GROWTH.1;
    assert!(project.to_yaml().len() <= most && project.to_json().len() <= most);
    for service in project.service_names() {
        assert!(project.config_hash(&service).is_some());
    }
}

/// Labels are on characters of files that were read, and texts can be shown.
fn places(loaded: &Loaded, finding: &Diagnostic) {
    for label in &finding.labels {
        let text = loaded.source_text(&label.file);
        let part = text.and_then(|text| text.get(label.span.clone()));
        assert!(part.is_some(), "{label:?}");
    }
    let help = finding.help.as_deref().unwrap_or_default();
    let labels = finding.labels.iter().map(|label| label.text.as_str());
    for text in labels.chain([finding.message.as_str(), help]) {
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.chars().count() <= 501, "{text:?}");
    }
}
