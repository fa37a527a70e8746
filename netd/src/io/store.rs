//! The configuration on disk, so that a daemon that is started again serves
//! what the last one did.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(flatten)]
    pub(super) config: Config,
    /// Ports of the host that were chosen here, by publish id.
    #[serde(default)]
    pub(super) bound: BTreeMap<String, u16>,
}

/// Replaces the file as a whole.
pub(super) fn save(path: &Path, stored: &Stored) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&serde_json::to_vec(stored)?)?;
    file.sync_data()?;
    std::fs::rename(&draft, path)
}

/// What was saved, if anything was.
pub(super) fn load(path: &Path) -> io::Result<Option<Stored>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
