//! Keeps what a guest can write to the host's disk small: the file behind
//! its console takes whatever the guest's kernel says, for as long as it
//! likes to talk.

use std::path::Path;
use std::sync::Weak;
use std::time::Duration;

use super::Shared;

/// Beyond this many bytes a log begins anew.
const LIMIT: u64 = 1 << 20;
const EVERY: Duration = Duration::from_secs(5);

/// Looks after the logs beside `socket` as long as the conversation lasts.
pub(super) fn watch(socket: &Path, shared: Weak<Shared>) {
    let dir = socket.parent().unwrap_or(Path::new(".")).to_path_buf();
    tokio::spawn(async move {
        while shared.strong_count() > 0 {
            for name in ["console.log", "qemu.log"] {
                trim(&dir.join(name));
            }
            tokio::time::sleep(EVERY).await;
        }
    });
}

fn trim(log: &Path) {
    let size = std::fs::metadata(log).map_or(0, |meta| meta.len());
    if size > LIMIT
        && let Ok(file) = std::fs::File::options().write(true).open(log)
    {
        tracing::debug!(size, log = %log.display(), "begins anew");
        let _ = file.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_is_too_long_goes() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, vec![0; 1 << 20]).unwrap();
        super::trim(&log);
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 1 << 20);
        std::fs::write(&log, vec![0; (1 << 20) + 1]).unwrap();
        super::trim(&log);
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
    }
}
