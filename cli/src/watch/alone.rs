//! One watcher for each stack: two would overwrite each other's files.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;
use crate::paths::Paths;

/// Nobody else watches a stack as long as this, or a clone of it, lives.
#[derive(Debug, Clone)]
pub(crate) struct Alone {
    _lock: Arc<File>,
}

impl Alone {
    /// Takes the stack.
    ///
    /// # Errors
    /// It is being watched.
    pub(crate) fn with(stack: &str) -> Result<Alone, Error> {
        let folder = Paths::from_env()?.data.join("watch");
        let path = folder.join(stack);
        let open = || -> io::Result<File> {
            fs::create_dir_all(&folder)?;
            File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
        };
        let file = open().map_err(|source| Error::File {
            doing: "cannot lock",
            path: path.clone(),
            source,
        })?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Error::usage(
                format!("another `stack watch` or `stack up --watch` watches {stack}"),
                "end it first",
            )
        })?;
        Ok(Alone {
            _lock: Arc::new(file),
        })
    }
}
