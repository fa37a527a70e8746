//! Where things are kept. All directories are 0700.
//!
//! `STACK_HOME` puts everything under one directory; otherwise the XDG base
//! directories are used: data in `XDG_DATA_HOME/stack`, sockets in
//! `XDG_RUNTIME_DIR/stack`.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directories of one user's daemon.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Lasting data: ledger, images, disks, volumes, logs.
    pub data: PathBuf,
    /// What can be made again: may be deleted at any time.
    pub cache: PathBuf,
    /// Sockets and process ids; short, for `sun_path` has 108 bytes.
    pub run: PathBuf,
    /// The API socket.
    pub socket: PathBuf,
}

impl Paths {
    /// Reads the environment and makes the directories.
    ///
    /// # Errors
    /// A directory cannot be made or belongs to someone else.
    pub fn from_env() -> io::Result<Paths> {
        let uid = rustix::process::getuid().as_raw();
        let socket = stack_api::routes::socket_path(uid);
        let run = socket.parent().unwrap_or(Path::new("/")).to_path_buf();
        let set = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let base = |name, below_home| match (set("STACK_HOME"), set(name), set("HOME")) {
            (Some(_), _, _) => None,
            (None, Some(dir), _) => Some(dir.join("stack")),
            (None, None, Some(home)) => Some(home.join(below_home).join("stack")),
            (None, None, None) => None,
        };
        let under = |name| set("STACK_HOME").map(|home| home.join(name));
        let found = |dir: Option<PathBuf>| {
            dir.ok_or_else(|| io::Error::other("neither STACK_HOME nor HOME is set"))
        };
        Paths {
            data: found(under("data").or_else(|| base("XDG_DATA_HOME", ".local/share")))?,
            cache: found(under("cache").or_else(|| base("XDG_CACHE_HOME", ".cache")))?,
            run,
            socket,
        }
        .made()
    }

    /// Everything under one directory, as with `STACK_HOME`.
    ///
    /// # Errors
    /// A directory cannot be made or belongs to someone else.
    pub fn under(home: &Path) -> io::Result<Paths> {
        let run = home.join("run");
        Paths {
            data: home.join("data"),
            cache: home.join("cache"),
            socket: run.join("stackd.sock"),
            run,
        }
        .made()
    }

    fn made(self) -> io::Result<Paths> {
        let paths = self;
        // Longest socket: run/vm/<12 digits>/n10.q
        if paths.run.as_os_str().len() > 104 - 25 {
            return Err(io::Error::other(format!(
                "{} is too long for the sockets below it: choose a shorter STACK_HOME",
                paths.run.display()
            )));
        }
        for dir in [
            &paths.data,
            &paths.cache,
            &paths.run,
            &paths.vms(),
            &paths.nets(),
            &paths.disks(),
            &paths.volumes(),
            &paths.logs(),
        ] {
            private_dir(dir)?;
        }
        Ok(paths)
    }

    /// Per-VM runtime directories.
    pub fn vms(&self) -> PathBuf {
        self.run.join("vm")
    }

    /// Per-stack directories of the network daemon.
    pub fn nets(&self) -> PathBuf {
        self.run.join("net")
    }

    /// One container's runtime directory.
    pub fn vm(&self, id: &str) -> PathBuf {
        self.vms().join(&id[..id.len().min(12)])
    }

    /// Scratch disks.
    pub fn disks(&self) -> PathBuf {
        self.data.join("disks")
    }

    /// One container's scratch disk.
    pub fn scratch(&self, id: &str) -> PathBuf {
        self.disks().join(format!("{id}.ext4"))
    }

    /// Volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// Logs.
    pub fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    /// One container's log.
    pub fn log(&self, id: &str) -> PathBuf {
        self.logs().join(format!("{id}.log"))
    }

    /// Images.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// The ledger.
    pub fn ledger(&self) -> PathBuf {
        self.data.join("ledger.sqlite")
    }

    /// The key of digests in the ledger.
    pub fn key(&self) -> PathBuf {
        self.data.join("digest.key")
    }
}

/// Makes a directory (and its parents) that only this user can enter.
///
/// # Errors
/// It cannot be made, or it belongs to someone else.
pub fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let meta = std::fs::metadata(dir)?;
    if meta.uid() != rustix::process::getuid().as_raw() {
        return Err(io::Error::other(format!(
            "{} belongs to another user",
            dir.display()
        )));
    }
    if meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}
