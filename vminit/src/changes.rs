//! Looks names of the host's files up again that have changed there, past
//! everything that the kernel remembers: virtio-fs cannot be told of changes.
//!
//! A made-up file beside the shares gives the names, and what has happened to
//! each, in answer to a read that waits for them
//! (`runtime/files/src/fs/changes.rs`). Our kernel takes both, looks the name up
//! and tells whoever watches it (inotify(7), `kernel/patches/0003`). Any other
//! kernel is brought to look it up: making a directory asks for its name with
//! `LOOKUP_EXCL`, which no kernel answers from memory; in a view of the files
//! that is read-only nothing is made. So it is asked, and fails.
//!
//! It is this program again, in a process beside the agent, which starts it
//! again when it is killed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};

use crate::{rootfs, sys};

/// Where the process finds the view.
const VARIABLE: &str = "VMINIT_CHANGES";
/// Set in a process that is not the first one.
const AGAIN: &str = "VMINIT_CHANGES_AGAIN";
/// How long that one waits before it begins: whatever ended the one before may
/// end it, too.
const PACE: Duration = Duration::from_secs(1);
/// The made-up file: 4 bytes of what has happened, a path, NUL, and so on.
const EVENTS: &str = "events";
/// An old file server's, without the 4 bytes.
const CHANGES: &str = "changes";
/// Bytes of what has happened.
const MASK: usize = 4;
/// Names that come at once.
const ROOM: usize = 64 << 10;
/// Longest path for one call (`PATH_MAX`, less the final NUL).
const PATH: usize = 4095;

/// The processes, each with its view.
static RUNNING: Mutex<Vec<(i32, PathBuf)>> = Mutex::new(Vec::new());

/// Starts it for the file system that is mounted at `dir`.
pub(crate) fn start(tag: &str, dir: &Path) -> io::Result<()> {
    let view = PathBuf::from(format!("/run/view/{tag}"));
    fs::create_dir_all(&view)?;
    rootfs::bind(dir, &view, true)?;
    spawn(view, false)
}

fn spawn(view: PathBuf, again: bool) -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.env_clear().env(VARIABLE, &view);
    if again {
        command.env(AGAIN, "1");
    }
    // It ends with the VM, or is killed: process 1 reaps whatever ends.
    let pid = command.spawn()?.id() as i32;
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.push((pid, view));
    Ok(())
}

/// A child of process 1 has ended: if it is one of these and did not end by
/// itself, there is another one.
pub(crate) fn ended(pid: i32, status: i32) {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(at) = running.iter().position(|(one, _)| *one == pid) else {
        return;
    };
    let (_, view) = running.swap_remove(at);
    drop(running);
    if status == 0 {
        return;
    }
    eprintln!("vminit: whoever looks for changes of the host's files has ended: once more");
    if let Err(error) = spawn(view, true) {
        eprintln!("vminit: changes of the host's files are not looked for: {error}");
    }
}

/// This process is one, with this view.
pub(crate) fn wanted() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// Looks up what it is told, for ever. An old file server has nothing to tell.
pub(crate) fn serve(view: &Path) {
    // Nothing is gained by its end: it is small, and another one would come.
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "-1000") {
        eprintln!("vminit: oom_score_adj: {error}");
    }
    if std::env::var_os(AGAIN).is_some() {
        std::thread::sleep(PACE);
    }
    let (mut file, mask) = match File::open(view.join(EVENTS)) {
        Ok(file) => (file, MASK),
        Err(_) => match File::open(view.join(CHANGES)) {
            Ok(file) => (file, 0),
            Err(_) => return,
        },
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let Ok(view) = rustix::fs::open(view, flags, Mode::empty()) else {
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
        for (mask, path) in entries(&names[..length], mask) {
            if !sys::changed(view.as_fd(), mask, path) {
                again(&view, path);
            }
        }
    }
}

/// What has happened, and paths.
fn entries(mut bytes: &[u8], mask: usize) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (number, rest) = bytes.split_at_checked(mask)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        bytes = &rest[end + 1..];
        let number = number.try_into().map_or(0, u32::from_ne_bytes);
        Some((number, &rest[..end]))
    })
    .filter(|(_, path)| !path.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_happened_comes_before_each_path() {
        let told = b"\x02\0\0\0a/b\0\0\x01\0\0c\0\0\0";
        let found: Vec<_> = entries(told, MASK).collect();
        assert_eq!(found, [(2, &b"a/b"[..]), (0x100, b"c")]);
        let found: Vec<_> = entries(b"a/b\0c\0", 0).collect();
        assert_eq!(found, [(0, &b"a/b"[..]), (0, b"c")]);
    }
}
