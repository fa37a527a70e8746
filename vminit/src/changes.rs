//! Looks names of the host's files up again that have changed there, past
//! everything that the kernel remembers: virtio-fs cannot be told of changes.
//!
//! A made-up file beside the shares gives the names, in answer to a read that
//! waits for them (`runtime/files/src/fs/changes.rs`). Making a directory asks
//! for its name with `LOOKUP_EXCL`, which no kernel answers from memory; in a
//! view of the files that is read-only nothing is made. So it is asked, and
//! fails.
//!
//! It is this program again, in a process beside the agent, which starts it
//! again when it is killed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::rootfs;

/// Where the process finds the view.
const VARIABLE: &str = "VMINIT_CHANGES";
/// Set in a process that is not the first one.
const AGAIN: &str = "VMINIT_CHANGES_AGAIN";
/// How long that one waits before it begins: whatever ended the one before may
/// end it, too.
const PACE: Duration = Duration::from_secs(1);
/// The made-up file.
const FILE: &str = "changes";
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
