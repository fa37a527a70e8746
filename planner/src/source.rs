//! Where files come from. The planner itself never touches a file system.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::paths::Base;

/// Reads files for the loader.
///
/// Paths are absolute and lexically clean; `-` is standard input.
pub trait Source {
    /// The whole file.
    ///
    /// # Errors
    /// [`SourceError::NotFound`] when there is none, [`SourceError::Other`] with the reason else.
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError>;

    /// Something is there, whatever it is.
    fn exists(&self, path: &Path) -> bool;

    /// A directory is there.
    fn is_dir(&self, path: &Path) -> bool;

    /// Fetches a file that is named by something else than a path: a git
    /// repository or an artifact of a registry. Gives the absolute path where it
    /// is now, beside what its relative paths mean; `None` when the name is that
    /// of a local file.
    fn remote(&self, name: &str) -> Option<Result<PathBuf, SourceError>> {
        let _ = name;
        None
    }
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// Files held in memory: for tests and for editors.
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl MemorySource {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; its folders come to exist.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }
}

impl Source for MemorySource {
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        if self.is_dir(path) {
            return Err(SourceError::Other("is a directory".to_owned()));
        }
        self.files.get(path).cloned().ok_or(SourceError::NotFound)
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.is_dir(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.files
            .keys()
            .any(|file| file != path && file.starts_with(path))
    }
}

/// `base` joined with `path`, without `.`, `..` and doubled slashes, by text alone.
pub(crate) fn join(base: &Path, path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    out.push("/");
                }
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => out.push(part),
        }
    }
    out
}

/// The folder a file is in.
pub(crate) fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_path_buf()
}

/// Where the file is that a stack names: fetched, or relative to `base`.
///
/// # Errors
/// It cannot be fetched, in words.
pub(crate) fn locate(source: &dyn Source, base: Base<'_>, name: &str) -> Result<PathBuf, String> {
    match source.remote(name) {
        Some(Ok(path)) => Ok(join(Path::new("/"), &path)),
        Some(Err(error)) => Err(format!("cannot fetch {name}: {error}")),
        None => Ok(join(Path::new("/"), Path::new(&base.absolute(name)))),
    }
}
