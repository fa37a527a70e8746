//! Keeps the logs of this daemon and of its helpers small: much of what is in
//! them is about what guests do wrong, who may do so as long as they like.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;

use super::Daemon;
use crate::paths::Paths;

/// Beyond this many bytes a log begins anew, and what was in it is beside it.
const LIMIT: u64 = 16 << 20;
const EVERY: Duration = Duration::from_secs(60);

/// Looks after them as long as there is a daemon.
pub(super) async fn keep_small(daemon: Weak<Daemon>) {
    while let Some(own) = daemon.upgrade() {
        for log in logs(&own.paths) {
            if let Err(error) = trim(&log) {
                tracing::warn!(%error, log = %log.display(), "a log cannot begin anew");
            }
        }
        drop(own);
        tokio::time::sleep(EVERY).await;
    }
}

fn logs(paths: &Paths) -> Vec<PathBuf> {
    let nets = fs::read_dir(paths.nets()).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = nets.map(|net| net.path().join("log")).collect();
    logs.push(paths.run.join("fs/log"));
    logs.push(paths.data.join("stackd.log"));
    logs
}

/// Whoever writes to it appends.
fn trim(log: &Path) -> io::Result<()> {
    if fs::metadata(log).map_or(0, |meta| meta.len()) <= LIMIT {
        return Ok(());
    }
    let old = log.with_extension(match log.extension() {
        Some(_) => "log.1",
        None => "1",
    });
    // Without room for it, it goes.
    if fs::copy(log, &old).is_err() {
        let _ = fs::remove_file(&old);
    }
    File::options().write(true).open(log)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn who_writes_goes_on_in_a_log_that_began_anew() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut writer = File::options()
            .append(true)
            .create(true)
            .open(&log)
            .unwrap();
        writer.write_all(b"first").unwrap();
        trim(&log).unwrap();
        assert_eq!(fs::read(&log).unwrap(), b"first");
        writer.set_len(LIMIT).unwrap();
        writer.write_all(b"last").unwrap();
        trim(&log).unwrap();
        writer.write_all(b"next").unwrap();
        assert_eq!(fs::read(&log).unwrap(), b"next");
        let old = fs::metadata(dir.path().join("log.1")).unwrap();
        assert_eq!(old.len(), LIMIT + 4);
    }
}
