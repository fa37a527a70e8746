//! The configuration on disk, so that a daemon that is started again serves
//! what the last one did.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::config::Config;

/// Replaces the file as a whole.
pub(super) fn save(path: &Path, config: &Config) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&serde_json::to_vec(config)?)?;
    file.sync_data()?;
    std::fs::rename(&draft, path)
}

/// What was saved, if anything was.
pub(super) fn load(path: &Path) -> io::Result<Option<Config>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
