//! What others than this server change in directories of the host, as
//! fanotify(7) tells it: without privileges it says of each change whether
//! the listener made it itself.

#![expect(unsafe_code, reason = "no crate has fanotify with names")]

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Mutex;

use super::guard;
use super::resolve::by_descriptor;

/// All that changes a name in a directory, or what has the name.
const CHANGES: u64 = libc::FAN_ATTRIB
    | libc::FAN_MODIFY
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_ONDIR
    | libc::FAN_EVENT_ON_CHILD;
/// What changes the directory's own time stamps.
const LISTS: u64 = libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO;
/// What takes a file's name away, or gives it to another.
const REMOVALS: u64 = libc::FAN_DELETE | libc::FAN_MOVED_TO;
/// Bytes of `fanotify_event_metadata`.
const METADATA: usize = 24;
/// Bytes of `fanotify_event_info_fid` up to the handle: header and file system.
const INFO: usize = 12;
/// Bytes that name a file system (`f_fsid`).
const SYSTEM: usize = 8;
/// File systems of this host alone (statfs(2)): ext4, XFS, btrfs, tmpfs, F2FS,
/// bcachefs, ZFS.
const LOCAL: [u32; 7] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0xf2f5_2010,
    0xca45_1a4e,
    0x2fc1_2fc1,
];
/// Longest handle (`MAX_HANDLE_SZ`).
const HANDLE: usize = 128;
/// Most directories that are watched for a VM: the host's limit is for all that a
/// user has.
const MARKS: usize = 1 << 15;
/// Bytes that are read at once, and how often: the host may change more all the
/// time.
const BUFFER: usize = 64 << 10;
const READS: usize = 16;

/// The directories of a VM that are watched.
#[derive(Debug)]
pub(super) struct Marks {
    /// `None`: the host has no such thing.
    group: Option<OwnedFd>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// File system, type and bytes of the handle: two file systems have the same
    /// handles.
    /// A directory that is in two shares has a node in each.
    nodes: HashMap<Vec<u8>, Vec<u64>>,
    handles: HashMap<u64, Vec<u8>>,
    /// How many the host watches: those that are forgotten, too.
    made: usize,
}

/// What was seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Directory and name, and what has happened, in the terms of fanotify(7), which
    /// are inotify(7)'s.
    pub(super) names: BTreeMap<(u64, Vec<u8>), u32>,
    /// Directories that have changed themselves.
    pub(super) dirs: Vec<u64>,
    /// There was more than the host keeps.
    pub(super) lost: bool,
}

/// What has happened may have removed the file that had the name.
pub(super) fn removes(mask: u32) -> bool {
    u64::from(mask) & REMOVALS != 0
}

/// What has happened may have given the name to a file that had another.
pub(super) fn moves(mask: u32) -> bool {
    u64::from(mask) & libc::FAN_MOVED_TO != 0
}

impl Default for Marks {
    fn default() -> Marks {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_REPORT_DFID_NAME
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK;
        // SAFETY: takes numbers only; what it gives is ours.
        let group = unsafe {
            match libc::fanotify_init(flags, libc::O_RDONLY as u32) {
                -1 => None,
                fd => Some(OwnedFd::from_raw_fd(fd)),
            }
        };
        Marks {
            group,
            known: Mutex::default(),
        }
    }
}

impl Marks {
    /// Readable when something was seen.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.group.as_ref().map(AsFd::as_fd)
    }

    /// The directory is watched.
    pub(super) fn has(&self, node: u64) -> bool {
        guard(&self.known).handles.contains_key(&node)
    }

    /// Watches a directory from now on. `false`: the host cannot.
    pub(super) fn add(&self, node: u64, dir: impl AsFd) -> bool {
        let Some(group) = &self.group else {
            return false;
        };
        // Of a file system that others change, too, not all is told.
        let local = rustix::fs::fstatfs(dir.as_fd())
            .is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)));
        let Some(handle) = handle_of(dir.as_fd()).filter(|_| local) else {
            return false;
        };
        let path = std::ffi::CString::new(by_descriptor(&dir)).unwrap_or_default();
        // As long as that, nobody empties the maps: what is in them is watched.
        let mut known = guard(&self.known);
        if known.made >= MARKS {
            return false;
        }
        // SAFETY: the path ends with a NUL and outlives the call.
        let done = unsafe {
            let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_ONLYDIR;
            let (fd, at) = (group.as_raw_fd(), libc::AT_FDCWD);
            libc::fanotify_mark(fd, flags, CHANGES, at, path.as_ptr())
        };
        if done != 0 {
            return false;
        }
        let nodes = known.nodes.entry(handle.clone()).or_default();
        nodes.push(node);
        let news = nodes.len() == 1;
        known.made += usize::from(news);
        known.handles.insert(node, handle);
        true
    }

    /// Nobody asks about the directory any more. The host goes on watching:
    /// to end that would need a name that it still has.
    pub(super) fn forget(&self, node: u64) {
        let mut known = guard(&self.known);
        let Some(handle) = known.handles.remove(&node) else {
            return;
        };
        let Some(nodes) = known.nodes.get_mut(&handle) else {
            return;
        };
        nodes.retain(|other| *other != node);
        if nodes.is_empty() {
            known.nodes.remove(&handle);
        }
    }

    /// There is no room for more, and most of what is watched nobody asks about.
    pub(super) fn is_full(&self) -> bool {
        let known = guard(&self.known);
        known.made >= MARKS && known.handles.len() < MARKS / 2
    }

    /// Nobody asks about any.
    pub(super) fn clear(&self) {
        let mut known = guard(&self.known);
        if let Some(group) = &self.group {
            // SAFETY: takes numbers only; no path belongs to this.
            let done = unsafe {
                let (fd, at) = (group.as_raw_fd(), libc::AT_FDCWD);
                libc::fanotify_mark(fd, libc::FAN_MARK_FLUSH, 0, at, std::ptr::null())
            };
            if done != 0 {
                let error = std::io::Error::last_os_error();
                tracing::warn!(%error, "directories stay watched");
            }
        }
        *known = Known::default();
    }

    /// Takes what was seen, or a part: then there is more to read.
    pub(super) fn read(&self) -> Seen {
        let mut seen = Seen::default();
        let Some(group) = &self.group else {
            return seen;
        };
        let mut buffer = vec![0; BUFFER];
        for _ in 0..READS {
            match rustix::io::read(group, &mut buffer[..]) {
                Ok(length) if length > 0 => self.take(&buffer[..length], &mut seen),
                _ => break,
            }
            if seen.lost {
                break;
            }
        }
        seen.dirs.sort_unstable();
        seen.dirs.dedup();
        seen
    }

    fn take(&self, mut bytes: &[u8], seen: &mut Seen) {
        let own = std::process::id();
        while let Some((metadata, _)) = bytes.split_at_checked(METADATA) {
            let length = number(metadata, 0) as usize;
            let Some((event, rest)) = bytes.split_at_checked(length.max(METADATA)) else {
                return;
            };
            bytes = rest;
            if number(event, 8) & libc::FAN_Q_OVERFLOW as u32 != 0 {
                seen.lost = true;
            } else if number(event, 20) != own
                && let Some((handle, name)) = event.get(METADATA..).and_then(name_in)
            {
                let nodes = guard(&self.known).nodes.get(&handle).cloned();
                let itself = name == b".";
                let mask = number(event, 8);
                for node in nodes.unwrap_or_default() {
                    if !itself {
                        *seen.names.entry((node, name.to_vec())).or_default() |= mask;
                    }
                    if itself || mask & LISTS as u32 != 0 {
                        seen.dirs.push(node);
                    }
                }
            }
        }
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    u32::from_ne_bytes(four.unwrap_or_default())
}

/// File system with handle (without its length), and name, from an event's
/// information.
fn name_in(info: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    if info.first() != Some(&libc::FAN_EVENT_INFO_TYPE_DFID_NAME) {
        return None;
    }
    let length = number(info, INFO) as usize;
    let system = info.get(INFO - SYSTEM..INFO)?;
    let handle = info.get(INFO + 4..INFO + 8 + length)?;
    let name = info.get(INFO + 8 + length..)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    Some(([system, handle].concat(), &name[..end]))
}

/// A directory's file system, and its handle: type and bytes.
fn handle_of(dir: BorrowedFd<'_>) -> Option<Vec<u8>> {
    // `struct file_handle`: length, type, bytes.
    let mut handle = [0u32; 2 + HANDLE / 4];
    handle[0] = HANDLE as u32;
    let mut mount = 0;
    // SAFETY: the length is said in front; both outlive the call.
    let done = unsafe {
        libc::name_to_handle_at(
            dir.as_raw_fd(),
            c"".as_ptr(),
            handle.as_mut_ptr().cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if done != 0 {
        return None;
    }
    let system: [u8; SYSTEM] = rustix::fs::fstatvfs(dir).ok()?.f_fsid.to_ne_bytes();
    let length = (handle[0] as usize).min(HANDLE);
    let bytes: Vec<u8> = handle.iter().flat_map(|four| four.to_ne_bytes()).collect();
    let handle = bytes.get(4..8 + length)?;
    Some([&system, handle].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &std::path::Path) -> OwnedFd {
        use rustix::fs::{Mode, OFlags};
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn what_others_change_is_seen_and_own_changes_are_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("old"), "").unwrap();
        let marks = Marks::default();
        assert!(marks.add(7, opened(dir.path())), "fanotify(7)");
        assert!(marks.add(8, opened(&dir.path().join("in"))));
        std::fs::write(dir.path().join("own"), "own").unwrap();
        assert_eq!(marks.read(), Seen::default());
        let script = "echo 1 > new; echo 2 > old; chmod 600 own; mv new in/moved; rmdir none";
        let sh = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(dir.path())
            .stderr(std::process::Stdio::null())
            .status();
        sh.unwrap();
        let seen = marks.read();
        let expected = [
            (7, "new", libc::FAN_CREATE | libc::FAN_MOVED_FROM),
            (7, "old", libc::FAN_MODIFY | libc::FAN_CLOSE_WRITE),
            (7, "own", libc::FAN_ATTRIB),
            (8, "moved", libc::FAN_MOVED_TO),
        ];
        for (node, name, mask) in expected {
            let mask = mask as u32;
            let found = seen.names[&(node, name.as_bytes().to_vec())];
            assert_eq!(found & mask, mask, "{name}: {found:x}");
        }
        assert_eq!(seen.names.len(), expected.len());
        assert_eq!(seen.dirs, [7, 8]);
        assert!(!seen.lost);
        marks.forget(8);
        assert!(!marks.has(8) && marks.has(7));
        marks.clear();
        assert!(!marks.has(7));
        let touch = std::process::Command::new("touch")
            .arg(dir.path().join("late"))
            .status();
        assert!(touch.unwrap().success());
        assert_eq!(marks.read(), Seen::default());
    }

    #[test]
    fn the_same_handle_of_another_file_system_is_another_directory() {
        let dir = tempfile::tempdir().unwrap();
        let marks = Marks::default();
        assert!(marks.add(7, opened(dir.path())), "fanotify(7)");
        let own = guard(&marks.known).handles[&7].clone();
        let event = |key: &[u8]| {
            let (system, handle) = key.split_at(SYSTEM);
            let mut info = vec![libc::FAN_EVENT_INFO_TYPE_DFID_NAME, 0, 0, 0];
            info.extend(system);
            info.extend((handle.len() as u32 - 4).to_ne_bytes());
            info.extend(handle);
            info.extend(b"name\0");
            let mut event = vec![0; METADATA];
            event[..4].copy_from_slice(&((METADATA + info.len()) as u32).to_ne_bytes());
            event.extend(info);
            event
        };
        let mut seen = Seen::default();
        marks.take(&event(&own), &mut seen);
        assert!(seen.names.keys().eq([&(7, b"name".to_vec())]));
        let mut other = own;
        other[0] ^= 1;
        let mut seen = Seen::default();
        marks.take(&event(&other), &mut seen);
        assert_eq!(seen, Seen::default());
    }

    #[test]
    fn rubbish_is_no_event() {
        let marks = Marks::default();
        let mut seen = Seen::default();
        for length in [0, 5, 24, 60, 200] {
            marks.take(&vec![0xff; length], &mut seen);
            marks.take(&vec![2; length], &mut seen);
            marks.take(&vec![0; length], &mut seen);
        }
        assert!(seen.names.is_empty());
    }
}
