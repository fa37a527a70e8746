//! Looks names of the host's files up again that have changed there, past
//! everything that the kernel remembers: virtio-fs cannot be told of changes.
//!
//! A made-up file beside the shares gives the names, in answer to a read that
//! waits for them (`runtime/files/src/fs/changes.rs`). Making a directory asks
//! for its name with `LOOKUP_EXCL`, which no kernel answers from memory; in a
//! view of the files that is read-only nothing is made. So it is asked, and
//! fails.
//!
//! It is this program again, in a process beside the agent.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::rootfs;

/// Where the process finds the view.
const VARIABLE: &str = "VMINIT_CHANGES";
/// The made-up file.
const FILE: &str = "changes";
/// Names that come at once.
const ROOM: usize = 64 << 10;
/// Longest path for one call (`PATH_MAX`, less the final NUL).
const PATH: usize = 4095;

/// Starts it for the file system that is mounted at `dir`.
pub(crate) fn start(tag: &str, dir: &Path) -> io::Result<()> {
    let view = PathBuf::from(format!("/run/view/{tag}"));
    fs::create_dir_all(&view)?;
    rootfs::bind(dir, &view, true)?;
    let child = Command::new("/proc/self/exe")
        .env_clear()
        .env(VARIABLE, &view)
        .spawn()?;
    // It ends with the VM; process 1 reaps whatever ends.
    drop(child);
    Ok(())
}

/// This process is one, with this view.
pub(crate) fn wanted() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// Looks up what it is told, for ever. An old file server has nothing to tell.
pub(crate) fn serve(view: &Path) {
    let Ok(mut file) = File::open(view.join(FILE)) else {
        return;
    };
    let Ok(view) = rustix::fs::open(view, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) else {
        return;
    };
    let mut names = vec![0; ROOM];
    loop {
        let length = match file.read(&mut names) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                eprintln!("vminit: changes of the host's files: {error}");
                std::thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        for path in names[..length].split(|byte| *byte == 0) {
            if !path.is_empty() {
                again(&view, path);
            }
        }
    }
}

/// Looks a path up: whatever the answer is, the kernel has it.
fn again(view: impl rustix::fd::AsFd, mut path: &[u8]) {
    let mut dir = None;
    while path.len() > PATH {
        let Some(cut) = path[..PATH].iter().rposition(|byte| *byte == b'/') else {
            return;
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let at = dir.as_ref().map_or(view.as_fd(), rustix::fd::AsFd::as_fd);
        let Ok(next) = rustix::fs::openat(at, &path[..cut], flags, Mode::empty()) else {
            return;
        };
        (dir, path) = (Some(next), &path[cut + 1..]);
    }
    let at = dir.as_ref().map_or(view.as_fd(), rustix::fd::AsFd::as_fd);
    let _ = rustix::fs::mkdirat(at, path, Mode::empty());
}
