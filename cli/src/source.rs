//! Files for the planner: from the file system, standard input, git
//! repositories and registries.

mod git;
mod oci;
pub(crate) mod remote;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use stack_planner::{Source, SourceError};

use remote::Remotes;

/// Largest file that is read, in bytes; the planner has its own limits for
/// what is in it.
const MAX_FILE: u64 = 64 << 20;

/// Where files come from.
#[derive(Debug, Default)]
pub(crate) struct Files {
    remotes: Option<Remotes>,
    /// What was fetched, by name: one name is one version as long as this lives.
    fetched: RefCell<BTreeMap<String, Option<Result<PathBuf, SourceError>>>>,
    /// A file that is nowhere but here.
    extra: Option<(PathBuf, String)>,
    /// What was looked for, be it there or not.
    asked: RefCell<BTreeSet<PathBuf>>,
}

impl Files {
    /// One more file, with this path and text.
    pub(crate) fn and(mut self, path: PathBuf, text: String) -> Files {
        self.extra = Some((path, text));
        self
    }

    fn extra(&self, path: &Path) -> Option<&str> {
        let (name, text) = self.extra.as_ref()?;
        (name == path).then_some(text)
    }

    /// All files that were looked for so far: if one of them changes, what was made of
    /// them may, too.
    pub(crate) fn asked(&self) -> BTreeSet<PathBuf> {
        self.asked.borrow().clone()
    }

    /// Somebody else reads this one.
    pub(crate) fn will_ask(&self, path: PathBuf) {
        self.asked.borrow_mut().insert(path);
    }

    /// The file system, and what may be fetched.
    pub(crate) fn with(remotes: Remotes) -> Files {
        Files {
            remotes: Some(remotes),
            ..Files::default()
        }
    }
}

impl Source for Files {
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        if path == Path::new("-") {
            return standard_input();
        }
        if let Some(text) = self.extra(path) {
            return Ok(text.as_bytes().to_vec());
        }
        self.asked.borrow_mut().insert(path.to_path_buf());
        let file = File::open(path).map_err(explain)?;
        let meta = file.metadata().map_err(explain)?;
        if meta.is_dir() {
            return Err(SourceError::Other("is a directory".to_owned()));
        }
        read(file)
    }

    fn exists(&self, path: &Path) -> bool {
        if path == Path::new("-") || self.extra(path).is_some() {
            return true;
        }
        self.asked.borrow_mut().insert(path.to_path_buf());
        path.exists()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn remote(&self, name: &str) -> Option<Result<PathBuf, SourceError>> {
        let remotes = self.remotes.as_ref()?;
        let mut fetched = self.fetched.borrow_mut();
        let known = fetched.entry(name.to_owned());
        known.or_insert_with(|| remotes.fetch(name)).clone()
    }
}

/// It can be read once, and a command may read its stack files several times.
fn standard_input() -> Result<Vec<u8>, SourceError> {
    static INPUT: OnceLock<Result<Vec<u8>, SourceError>> = OnceLock::new();
    INPUT.get_or_init(|| read(io::stdin().lock())).clone()
}

fn read(from: impl Read) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(explain)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(SourceError::Other(format!(
            "is larger than {} MiB",
            MAX_FILE >> 20
        )));
    }
    Ok(bytes)
}

fn explain(error: io::Error) -> SourceError {
    match error.kind() {
        io::ErrorKind::NotFound => SourceError::NotFound,
        _ => SourceError::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_explained() {
        let files = Files::default();
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            files.read(&dir.path().join("no")),
            Err(SourceError::NotFound)
        );
        assert!(
            matches!(files.read(dir.path()), Err(SourceError::Other(why)) if why.contains("directory"))
        );
        std::fs::write(dir.path().join("yes"), "x").unwrap();
        assert_eq!(files.read(&dir.path().join("yes")).unwrap(), b"x");
        assert!(!files.exists(&dir.path().join("other")));
        let asked = files.asked();
        for name in ["no", "yes", "other"] {
            assert!(asked.contains(&dir.path().join(name)), "{asked:?}");
        }
        assert!(
            matches!(read(io::repeat(0)), Err(SourceError::Other(why)) if why.contains("64 MiB"))
        );
    }
}
