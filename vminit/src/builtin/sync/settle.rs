//! What a batch wrote comes to the disk soon, and behind the answer.
//!
//! ext4 writes a file back when it is renamed over another one
//! (`auto_da_alloc`, Documentation/admin-guide/ext4.rst of the kernel), for
//! services that forget fsync(2): one request to the disk for each of thousands
//! of small files, before the last one is there. A file whose blocks are
//! reserved beforehand is left alone, and the whole batch is written after it.
//! To free what was replaced waits as well: it costs as much as the renaming.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fstatfs, openat, syncfs};
use rustix::io::Errno;

/// Without another batch, the disk is written.
const PAUSE: Duration = Duration::from_secs(1);
/// With others all the time, too.
const LATEST: Duration = Duration::from_secs(5);
/// overlayfs and ext4 (linux/magic.h).
const ON_DISK: [i64; 2] = [0x794c_7630, 0xef53];

/// Reserves the blocks of a file that is to have that many bytes. Where that
/// cannot be, writing tells.
pub(super) fn reserve(file: &File, size: u64) {
    // What is cut off in the middle is short then, and not as long as the whole.
    let _ = fallocate(file, FallocateFlags::KEEP_SIZE, 0, size);
}

/// Is it on a file system that [`reserve`] has an effect on: a disk of this machine?
pub(super) fn is_on_disk(file: &File) -> bool {
    fstatfs(file).is_ok_and(|stat| ON_DISK.contains(&stat.f_type))
}

/// Files that have been replaced. Their blocks are freed when this is dropped:
/// what an unlinked file costs is paid behind the answer.
#[derive(Default)]
pub(super) struct Replaced {
    files: Vec<File>,
    /// So many at most.
    most: usize,
}

impl Replaced {
    pub(super) fn new(most: usize) -> Replaced {
        let files = Vec::new();
        Replaced { files, most }
    }

    /// Opens what is to be replaced, for nothing but to look at it and to hold it.
    pub(super) fn open(&mut self, parent: &OwnedFd, name: &OsStr) -> Option<File> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(parent, name, flags, Mode::empty());
        let opened = match open() {
            // Less is held than was thought.
            Err(Errno::MFILE | Errno::NFILE) => {
                *self = Replaced::default();
                open()
            }
            opened => opened,
        };
        opened.ok().map(File::from)
    }

    pub(super) fn hold(&mut self, file: File) {
        if self.files.len() < self.most {
            self.files.push(file);
        }
    }
}

/// Writes back while the conversation goes on.
pub(super) struct Settler {
    disks: Sender<(File, Replaced)>,
    thread: JoinHandle<()>,
}

impl Settler {
    pub(super) fn start() -> Settler {
        let (sender, disks) = channel::<(File, Replaced)>();
        let thread = thread::spawn(move || {
            while let Ok((disk, replaced)) = disks.recv() {
                let mut disks_written = vec![disk];
                let mut all_replaced = vec![replaced];
                // Who waits for the files has the processor first.
                let latest = Instant::now() + LATEST;
                while Instant::now() < latest
                    && let Ok((disk, replaced)) = disks.recv_timeout(PAUSE)
                {
                    all_replaced.push(replaced);
                    let is_new = |known: &File| device(known) != device(&disk);
                    if disks_written.iter().all(is_new) {
                        disks_written.push(disk);
                    }
                }
                drop(all_replaced);
                for disk in disks_written {
                    let _ = syncfs(&disk);
                }
            }
        });
        Settler {
            disks: sender,
            thread,
        }
    }

    /// Has what is on `disk` written back soon, and what was replaced there
    /// freed.
    pub(super) fn write_back(&self, disk: File, replaced: Replaced) {
        // Without the thread, the kernel does it in its own time.
        let _ = self.disks.send((disk, replaced));
    }

    /// Returns when everything is written.
    pub(super) fn end(self) {
        drop(self.disks);
        let _ = self.thread.join();
    }
}

fn device(disk: &File) -> Option<u64> {
    disk.metadata().ok().map(|meta| meta.dev())
}
