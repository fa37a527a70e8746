//! Why a command failed. The only place that turns an error into a message,
//! advice and an exit code.

use std::io;
use std::path::PathBuf;

use stack_api::event::ApiError;

use crate::exit;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The daemon refused or failed.
    #[error(transparent)]
    Api(ApiError),
    /// No stack file from the working directory upwards.
    #[error("there is no stack file in {} or a directory above it", .0.display())]
    NoFile(PathBuf),
    /// A stack file that was named.
    #[error("there is no file {}", .0.display())]
    NoSuchFile(PathBuf),
    /// A stack file that is elsewhere.
    #[error("cannot fetch {name}: {why}")]
    NotFetched {
        /// As written.
        name: String,
        /// Why.
        why: String,
    },
    /// The stack file has errors, which have been shown.
    #[error("the stack file has errors")]
    BadFile,
    /// `stack.lock` is missing, broken or does not fit.
    #[error("{message}")]
    Lock {
        /// One sentence.
        message: String,
        /// What to do.
        help: String,
    },
    /// The words of the command line do not fit together.
    #[error("{message}")]
    Usage {
        /// One sentence.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The daemon did not come up.
    #[error("stackd cannot be started: {why}")]
    Start {
        /// Why.
        why: String,
        /// What to do.
        help: Option<String>,
    },
    /// Nobody listens on the daemon's socket.
    #[error("stackd is not reachable at {}", .socket.display())]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the connection to stackd was lost: {0}")]
    Lost(String),
    /// Output could not be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// A file could not be used.
    #[error("{doing} {}", .path.display())]
    File {
        /// "cannot read", "cannot write"…
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Wrong use, with advice.
    pub(crate) fn usage(message: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Usage {
            message: message.into(),
            help: Some(help.into()),
        }
    }

    /// Nothing else that this command could do would work.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Error::Start { .. }
            | Error::Unreachable { .. }
            | Error::Lost(_)
            | Error::Output(_)
            | Error::Interrupted => true,
            Error::Api(_)
            | Error::NoFile(_)
            | Error::NoSuchFile(_)
            | Error::NotFetched { .. }
            | Error::BadFile
            | Error::Lock { .. }
            | Error::Usage { .. }
            | Error::File { .. } => false,
        }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Api(error) => exit::for_api(&error.code, error.exit_code),
            Error::NoFile(_) | Error::NoSuchFile(_) | Error::NotFetched { .. } => exit::NO_FILE,
            Error::BadFile => exit::BAD_FILE,
            Error::Lock { .. } => exit::LOCK,
            Error::Usage { .. } => exit::USAGE,
            Error::Start { .. } | Error::Unreachable { .. } | Error::Lost(_) => exit::MACHINE,
            Error::Output(_) | Error::File { .. } => exit::FAILURE,
            Error::Interrupted => exit::INTERRUPTED,
        }
    }

    /// A stable word, for whoever searches for it.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Error::Api(error) => Some(&error.code),
            Error::NoFile(_) | Error::NoSuchFile(_) | Error::NotFetched { .. } => {
                Some("no_stack_file")
            }
            Error::Lock { .. } => Some("lock_drift"),
            Error::Start { .. } => Some("daemon_failed"),
            Error::Unreachable { .. } => Some("daemon_unreachable"),
            Error::Lost(_) => Some("daemon_lost"),
            Error::BadFile
            | Error::Usage { .. }
            | Error::Output(_)
            | Error::File { .. }
            | Error::Interrupted => None,
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Error::Api(error) => error.help.clone(),
            Error::NoFile(_) => Some(
                "write a stack.yaml (a compose.yaml will do), go to its directory, or name it \
                 with -f; -p NAME is enough for commands on a stack that exists"
                    .to_owned(),
            ),
            Error::Lock { help, .. } => Some(help.clone()),
            Error::Usage { help, .. } | Error::Start { help, .. } => help.clone(),
            Error::Unreachable { .. } => {
                Some("`stack doctor` says what is wrong with this machine".to_owned())
            }
            Error::Lost(_) => Some(
                "what it was doing has stopped, running services go on: run the command again \
                 (`stack doctor` shows where stackd writes its log)"
                    .to_owned(),
            ),
            Error::Interrupted => {
                Some("what was done so far stays: the same command goes on from there".to_owned())
            }
            Error::NotFetched { .. }
            | Error::NoSuchFile(_)
            | Error::BadFile
            | Error::Output(_)
            | Error::File { .. } => None,
        }
    }

    /// Has whoever found it made an annotation of it, with its place, or is it no
    /// news for a CI system?
    pub(crate) fn is_annotated(&self) -> bool {
        match self {
            Error::Usage { .. } | Error::Interrupted | Error::Output(_) | Error::BadFile => true,
            Error::Api(_)
            | Error::NoFile(_)
            | Error::NoSuchFile(_)
            | Error::NotFetched { .. }
            | Error::Lock { .. }
            | Error::Start { .. }
            | Error::Unreachable { .. }
            | Error::Lost(_)
            | Error::File { .. } => false,
        }
    }

    /// Has it been said already, or is there nobody to say it to?
    pub(crate) fn is_silent(&self) -> bool {
        match self {
            Error::BadFile => true,
            Error::Output(source) => source.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Error {
        Error::Api(error)
    }
}

/// A service is to blame, not the file or the machine.
pub(crate) fn is_service_failure(error: &ApiError) -> bool {
    matches!(
        error.code.as_str(),
        "service_failed" | "dependency_failed" | "wait_timeout"
    )
}
