//! What several tests and the fuzz target check.

use stack_planner::{LoadOptions, Loaded, MemorySource, Project, load};

/// Loads `/app/compose.yaml`.
fn again(text: String, name: &str, strict: bool) -> Loaded {
    let source = MemorySource::new().with("/again/compose.yaml", text);
    let mut options = LoadOptions::new(vec!["/again/compose.yaml".into()], "/again".into());
    options.project_name = Some(name.to_owned());
    options.profiles = vec!["*".to_owned()];
    options.check_consistency = strict;
    load(&source, &options)
}

/// The canonical output, as YAML and as JSON, is a stack file of the same stack.
///
/// # Errors
/// The first line that differs, or the findings.
pub(crate) fn reads_again(project: &Project, strict: bool) -> Result<(), String> {
    for text in [project.to_yaml(), project.to_json()] {
        let loaded = again(text.clone(), project.name(), strict);
        let Some(second) = &loaded.project else {
            return Err(format!("{text}\n{:#?}", loaded.diagnostics));
        };
        same(&project.to_json(), &second.to_json())?;
        if text.starts_with('{') {
            continue; // JSON says what is empty as well.
        }
        same(&project.to_yaml(), &second.to_yaml())?;
        // The content of files is part of the hash, and they are not there.
        let files = text.contains("configs:") || text.contains("secrets:");
        for service in project.service_names().into_iter().filter(|_| !files) {
            if project.config_hash(&service) != second.config_hash(&service) {
                return Err(format!("another hash of {service} from\n{text}"));
            }
        }
    }
    Ok(())
}

fn same(first: &str, second: &str) -> Result<(), String> {
    if first == second {
        return Ok(());
    }
    let lines = first.lines().zip(second.lines());
    let (i, (a, b)) = lines
        .enumerate()
        .find(|(_, (a, b))| a != b)
        .unwrap_or((0, ("", "")));
    Err(format!("line {i}: {a} became {b}"))
}
