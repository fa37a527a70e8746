//! Where files come from. The planner itself never touches a file system.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

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
