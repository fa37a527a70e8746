//! What a VM may see of the host's files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The file system of one VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Name of the VM.
    pub id: String,
    /// Socket for its VMM, which the keeper makes: at most 107 bytes.
    pub socket: PathBuf,
    /// Entries of its top directory, in order.
    pub shares: Vec<Share>,
}

/// One directory or file of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Absolute path.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Every change is refused.
    pub read_only: bool,
    /// How long a VM may rely on names and attributes while no other VM has
    /// these files: milliseconds.
    pub cache_ms: u64,
}

/// [`Share::cache_ms`] of a volume: nothing but VMs changes what is in it.
pub const VOLUME_MS: u64 = 1000;
/// [`Share::cache_ms`] of the user's files: what the user changes is seen
/// after this.
pub const BIND_MS: u64 = 50;

/// What a share is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A tree of our own. Owners, modes and kinds of files are those that the
    /// guests set, kept in an extended attribute; on the host everything is a
    /// plain file or directory of this user.
    Volume,
    /// The user's files. What a guest makes is the user's on the host.
    Bind,
    /// One of the user's files, found again by its name at each use.
    File,
}
