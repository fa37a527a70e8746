//! The stack files, and those that would be if they were there: an environment
//! file, an override.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::events::Events;

/// What is noticed of a file: device, inode, size, and seconds and nanoseconds of its
/// last change. Links are followed.
type Stamp = (u64, u64, u64, i64, i64);

/// Files and how they were last.
#[derive(Debug, Clone, Default)]
pub(crate) struct StackFiles {
    seen: BTreeMap<PathBuf, Option<Stamp>>,
}

impl StackFiles {
    /// These, as they are now.
    pub(crate) fn new(paths: impl IntoIterator<Item = PathBuf>) -> StackFiles {
        let paths = paths.into_iter().filter(|path| path.is_absolute());
        StackFiles {
            seen: paths.map(|path| (path.clone(), stamp(&path))).collect(),
        }
    }

    /// Has the system tell of them, and of the links that lead to them.
    pub(super) fn watch(&self, events: &mut Events) {
        for path in self.seen.keys() {
            events.watch(path.parent().unwrap_or(path));
            events.watch_links(path);
        }
    }

    /// Notes how they are now; whether one is another than before. One that is gone
    /// may be about to be replaced: that it is there again is the change.
    pub(super) fn have_changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.seen {
            let now = stamp(path);
            if now.is_some() && *seen != now {
                *seen = now;
                changed = true;
            }
        }
        changed
    }
}

fn stamp(path: &std::path::Path) -> Option<Stamp> {
    let stat = rustix::fs::stat(path).ok()?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return None;
    }
    Some((
        stat.st_dev,
        stat.st_ino,
        stat.st_size.cast_unsigned(),
        stat.st_mtime,
        stat.st_mtime_nsec.cast_signed(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_behind_links_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink("real", at("linked")).unwrap();
        std::fs::write(at("real/file.yaml"), "a").unwrap();
        std::os::unix::fs::symlink("real/file.yaml", at("stack.yaml")).unwrap();
        let mut all = StackFiles::new([at("linked/file.yaml"), at("stack.yaml"), at(".env")]);
        let mut events = Events::new().unwrap();
        all.watch(&mut events);
        assert!(!all.have_changed());
        std::fs::write(at("real/file.yaml"), "longer").unwrap();
        events.burst().await;
        assert!(all.have_changed() && !all.have_changed());

        // One that is gone for a moment, and one that was not there.
        std::fs::rename(at("real/file.yaml"), at("real/old")).unwrap();
        events.burst().await;
        assert!(!all.have_changed());
        std::fs::write(at("real/file.yaml"), "longer").unwrap();
        events.burst().await;
        assert!(all.have_changed());
        std::fs::write(at(".env"), "A=1").unwrap();
        events.burst().await;
        assert!(all.have_changed());
    }
}
