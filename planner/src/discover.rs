//! Finding the stack file.

use std::path::{Path, PathBuf};

use crate::source::Source;

/// Names in the order in which they are looked for: this tool's own, then those of
/// Docker Compose in its order.
pub const FILE_NAMES: [&str; 6] = [
    "stack.yaml",
    "stack.yml",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];

/// How many of [`FILE_NAMES`] are this tool's own.
const OWN: usize = 2;

/// Overrides in the order in which they are looked for, whatever the name of the
/// stack file is.
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// Overrides of files with this tool's own names, which come before the others.
const OWN_OVERRIDE_NAMES: [&str; 2] = ["stack.override.yaml", "stack.override.yml"];

/// What was found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// The stack file, and the override file beside it when there is one.
    pub files: Vec<PathBuf>,
    /// Files that could have been meant, each with the one that was taken instead.
    pub passed_over: Vec<(PathBuf, PathBuf)>,
}

/// The stack file in `start` or the nearest folder above it, and the override
/// file beside it.
pub fn discover(source: &dyn Source, start: &Path) -> Option<Discovered> {
    start
        .ancestors()
        .find_map(|folder| discover_in(source, folder))
}

fn discover_in(source: &dyn Source, folder: &Path) -> Option<Discovered> {
    let there = |names: &[&str]| -> Vec<PathBuf> {
        let paths = names.iter().map(|name| folder.join(name));
        paths
            .filter(|path| source.exists(path) && !source.is_dir(path))
            .collect()
    };
    let (own, others) = FILE_NAMES.split_at(OWN);
    let (own, others) = (there(own), there(others));
    let (mains, overrides) = match (own.is_empty(), others.is_empty()) {
        (true, true) => return None,
        (true, false) => (others, there(&OVERRIDE_NAMES)),
        // Docker Compose's overrides belong to its own stack file.
        (false, false) => (own, there(&OWN_OVERRIDE_NAMES)),
        (false, true) => {
            let mut overrides = there(&OWN_OVERRIDE_NAMES);
            overrides.extend(there(&OVERRIDE_NAMES));
            (own, overrides)
        }
    };
    let mut found = Discovered {
        files: Vec::new(),
        passed_over: Vec::new(),
    };
    for candidates in [mains, overrides] {
        let mut candidates = candidates.into_iter();
        let Some(taken) = candidates.next() else {
            continue;
        };
        let others = candidates.map(|other| (other, taken.clone()));
        found.passed_over.extend(others);
        found.files.push(taken);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{FILE_NAMES, OVERRIDE_NAMES, discover};
    use crate::source::MemorySource;

    /// The names of what is found in a folder with these files, and of what is passed over.
    fn found(names: &[&str]) -> (Vec<String>, Vec<String>) {
        let in_folder = |source: MemorySource, name: &&str| source.with(format!("/a/{name}"), "");
        let source = names.iter().fold(MemorySource::new(), in_folder);
        let found = discover(&source, Path::new("/a")).unwrap();
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let passed_over = found.passed_over.into_iter().map(|(other, _)| name(other));
        let passed_over = passed_over.collect();
        (found.files.into_iter().map(name).collect(), passed_over)
    }

    #[test]
    fn the_nearest_folder_with_a_file() {
        let source = MemorySource::new()
            .with("/a/compose.yml", "")
            .with("/a/compose.override.yaml", "")
            .with("/a/b/compose.override.yaml", "")
            .with("/a/b/c/file", "");
        let found = discover(&source, Path::new("/a/b/c")).unwrap();
        let files = ["/a/compose.yml", "/a/compose.override.yaml"].map(PathBuf::from);
        assert_eq!(found.files, files);
        assert!(found.passed_over.is_empty());
        assert_eq!(discover(&source, Path::new("/y")), None);
    }

    #[test]
    fn the_override_need_not_be_called_as_the_file() {
        for name in FILE_NAMES {
            for other in OVERRIDE_NAMES {
                assert_eq!(found(&[name, other]).0, [name, other]);
            }
        }
    }

    #[test]
    fn the_first_of_several_and_the_others_by_name() {
        let (files, passed_over) = found(&[
            "docker-compose.yaml",
            "docker-compose.yml",
            "docker-compose.override.yml",
            "compose.override.yaml",
        ]);
        assert_eq!(files, ["docker-compose.yml", "compose.override.yaml"]);
        assert_eq!(
            passed_over,
            ["docker-compose.yaml", "docker-compose.override.yml"]
        );
        let all: Vec<&str> = OVERRIDE_NAMES.iter().rev().copied().collect();
        let (files, passed_over) = found(&[&["compose.yaml"], &*all].concat());
        assert_eq!(files, ["compose.yaml", "compose.override.yml"]);
        assert_eq!(passed_over, OVERRIDE_NAMES[1..]);
    }

    #[test]
    fn a_file_for_each_tool_has_an_override_of_its_own() {
        let (files, passed_over) =
            found(&["stack.yaml", "stack.override.yml", "compose.override.yml"]);
        assert_eq!(files, ["stack.yaml", "stack.override.yml"]);
        assert_eq!(passed_over, ["compose.override.yml"]);
        let both = found(&["stack.yaml", "compose.yaml", "compose.override.yml"]);
        assert_eq!(both, (vec!["stack.yaml".to_owned()], Vec::new()));
    }
}
