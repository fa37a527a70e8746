//! Finding the stack file.

use std::path::{Path, PathBuf};

use crate::source::Source;

/// Names in the order in which they are looked for.
pub const FILE_NAMES: [&str; 6] = [
    "stack.yaml",
    "stack.yml",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];

/// The stack file in `start` or the nearest folder above it, and the override
/// file beside it (`compose.override.yaml` for `compose.yaml`) when there is one.
pub fn discover(source: &dyn Source, start: &Path) -> Option<Vec<PathBuf>> {
    let is_file = |path: &Path| source.exists(path) && !source.is_dir(path);
    for folder in start.ancestors() {
        let Some(file) = FILE_NAMES
            .iter()
            .map(|name| folder.join(name))
            .find(|path| is_file(path))
        else {
            continue;
        };
        let mut files = vec![file.clone()];
        files.extend(
            override_names(&file)
                .map(|name| folder.join(name))
                .find(|path| is_file(path)),
        );
        return Some(files);
    }
    None
}

fn override_names(file: &Path) -> impl Iterator<Item = String> {
    let stem = file
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    ["yaml", "yml"]
        .into_iter()
        .map(move |extension| format!("{stem}.override.{extension}"))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::discover;
    use crate::source::MemorySource;

    #[test]
    fn nearest_folder_first_name_and_override() {
        let source = MemorySource::new()
            .with("/a/compose.yml", "")
            .with("/a/compose.override.yaml", "")
            .with("/a/docker-compose.yml", "")
            .with("/a/b/c/file", "")
            .with("/z/docker-compose.yml", "")
            .with("/z/stack.yaml", "");
        let files = |names: [&str; 2]| {
            Some(
                names
                    .iter()
                    .filter(|n| !n.is_empty())
                    .map(PathBuf::from)
                    .collect(),
            )
        };
        assert_eq!(
            discover(&source, Path::new("/a/b/c")),
            files(["/a/compose.yml", "/a/compose.override.yaml"])
        );
        assert_eq!(
            discover(&source, Path::new("/z")),
            files(["/z/stack.yaml", ""])
        );
        assert_eq!(discover(&source, Path::new("/y")), None);
    }
}
