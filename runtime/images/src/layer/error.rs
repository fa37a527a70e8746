//! What can be wrong with one layer.

use std::io;

/// Why a layer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayerError {
    /// The archive is broken, hostile or beyond a limit.
    #[error("{0}")]
    Bad(String),
    /// The content is not what its digest says.
    #[error("{what} has digest {actual}, but {expected} was expected")]
    Digest {
        /// Blob or content.
        what: &'static str,
        expected: String,
        actual: String,
    },
    /// No space left.
    #[error("no space left on the disk")]
    DiskFull,
    /// Whoever asked for it is gone.
    #[error("given up")]
    Cancelled,
    /// The system.
    #[error("{0}")]
    Io(io::Error),
}

impl LayerError {
    pub(crate) fn bad(why: impl Into<String>) -> LayerError {
        LayerError::Bad(why.into())
    }
}

impl From<io::Error> for LayerError {
    fn from(error: io::Error) -> LayerError {
        let kind = error.kind();
        match error.downcast::<LayerError>() {
            Ok(inner) => inner,
            Err(error) => match kind {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LayerError::DiskFull,
                io::ErrorKind::FileTooLarge => LayerError::bad("it is too large for an image"),
                _ => LayerError::Io(error),
            },
        }
    }
}

impl From<LayerError> for io::Error {
    fn from(error: LayerError) -> io::Error {
        io::Error::other(error)
    }
}
