//! Where the daemon keeps what this command must find: its socket, its log
//! and its locks.

use std::path::PathBuf;

use crate::error::Error;

/// The daemon's files.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The API socket.
    pub(crate) socket: PathBuf,
    /// Lasting data.
    pub(crate) data: PathBuf,
}

impl Paths {
    /// `STACK_HOME`, else the XDG base directories.
    ///
    /// # Errors
    /// There is no home directory.
    pub(crate) fn from_env() -> Result<Paths, Error> {
        let set = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let data = match (set("STACK_HOME"), set("XDG_DATA_HOME"), set("HOME")) {
            (Some(home), _, _) => home.join("data"),
            (None, Some(data), _) => data.join("stack"),
            (None, None, Some(home)) => home.join(".local/share/stack"),
            (None, None, None) => {
                return Err(Error::usage(
                    "neither HOME nor STACK_HOME is set",
                    "set STACK_HOME to a directory for stack's data",
                ));
            }
        };
        let socket = stack_api::routes::socket_path(rustix::process::getuid().as_raw());
        for path in [&socket, &data] {
            if !path.is_absolute() {
                return Err(Error::usage(
                    format!("{} is not an absolute path", path.display()),
                    "STACK_HOME and the XDG variables must hold absolute paths",
                ));
            }
        }
        Ok(Paths { socket, data })
    }

    /// What the daemon says goes here.
    pub(crate) fn log(&self) -> PathBuf {
        self.data.join("stackd.log")
    }

    /// Held by the daemon while it lives.
    pub(crate) fn daemon_lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    /// Held by the command that starts the daemon.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.data.join("start.lock")
    }
}
