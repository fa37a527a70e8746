//! Tells the guest of what has changed, for virtio-fs has no way to. A process
//! of the guest's (`vminit/src/changes.rs`) reads from a made-up file beside
//! the shares; it gets names, looks each up again past everything its kernel
//! remembers, and reads on, which says that it has done so. While it listens,
//! a guest may rely on what it knows for [`LONG`].

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::journal::Record;
use super::marks::{Marks, Seen};
use super::tree::{ROOT, Tree};
use super::{Fs, guard};
use crate::fuse::{Attr, Header};
use crate::server::Answer;
use crate::spec::Kind;

/// Node and name of the file.
pub(super) const NODE: u64 = u64::MAX;
pub(super) const NAME: &[u8] = b"changes";
/// How long a guest that listens may rely on what it knows, in milliseconds.
/// It would be for ever, if every change were told: one by a mapping on the
/// host is told when the mapping's file is closed.
pub(super) const LONG: u64 = 10 * 60 * 1000;
/// A guest that has more names to look up than this is not told to rely on
/// more.
const BEHIND: usize = 1000;
/// Names that a guest is told at once: it is seen how far it has come.
const BATCH: usize = 128;
/// Most names that are remembered as not there.
const ABSENT: usize = 1 << 16;
/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(2);
/// A guest that has not come this far since is not waited for: it is halted,
/// and looks first when it goes on.
const STUCK: Duration = Duration::from_secs(5);
/// The host may change more all the time.
const MOST: Duration = Duration::from_secs(60);
/// A guest that does not listen yet, though it did with an earlier server.
const BACK: Duration = Duration::from_secs(1);

/// What one VM has to be told.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) marks: Marks,
    /// The guest listens and is not far behind.
    relied: AtomicBool,
    /// The guest's process that listens; 0: none.
    listener: AtomicU32,
    wake: OwnedFd,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The guest's request that waits.
    reader: Option<Answer>,
    /// Everything that it knows is to be looked up again.
    all: bool,
    /// Directory and name.
    pending: BTreeSet<(u64, Vec<u8>)>,
    /// Names that it takes for not there.
    absent: HashSet<(u64, Vec<u8>)>,
    ended: bool,
}

impl Changes {
    /// `used`: an earlier server has told the guest things.
    pub(super) fn new(used: bool) -> io::Result<Changes> {
        Ok(Changes {
            marks: Marks::default(),
            relied: AtomicBool::new(false),
            listener: AtomicU32::new(0),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            state: Mutex::new(State {
                all: used,
                ..State::default()
            }),
            moved: Condvar::new(),
        })
    }

    /// The guest listens and may rely on what it is told.
    pub(super) fn is_relied(&self) -> bool {
        self.relied.load(Ordering::SeqCst)
    }

    /// It is the process that looks names up again.
    pub(super) fn is_listener(&self, header: &Header) -> bool {
        header.pid != 0 && header.pid == self.listener.load(Ordering::Relaxed)
    }

    /// The guest takes this name for not there. `None`: it cannot be kept;
    /// otherwise a record if it is a new one.
    pub(super) fn absent(&self, parent: u64, name: &[u8]) -> Option<Option<Record>> {
        let mut state = guard(&self.state);
        let (key, room) = ((parent, name.to_vec()), state.absent.len() < ABSENT);
        if !self.is_relied() || !(room || state.absent.contains(&key)) {
            return None;
        }
        let news = state.absent.insert(key);
        Some(news.then(|| Record::Absent {
            parent,
            name: name.to_vec(),
        }))
    }

    /// Takes a record of an earlier server.
    pub(super) fn replay(&self, record: &Record) {
        if let Record::Absent { parent, name } = record {
            guard(&self.state).absent.insert((*parent, name.clone()));
        }
    }

    /// All of them.
    pub(super) fn records(&self) -> Vec<Record> {
        let one = |(parent, name): &(u64, Vec<u8>)| Record::Absent {
            parent: *parent,
            name: name.clone(),
        };
        guard(&self.state).absent.iter().map(one).collect()
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// The guest has done what it was told, and waits for more.
    fn listen(&self, header: &Header, answer: Answer) {
        self.listener.store(header.pid, Ordering::Relaxed);
        let mut state = guard(&self.state);
        let earlier = state.reader.replace(answer);
        self.settle(&state);
        drop(state);
        if let Some(earlier) = earlier {
            earlier.give(Ok(Vec::new()));
        }
        self.moved.notify_all();
        self.wake();
    }

    fn settle(&self, state: &State) {
        let heard = self.listener.load(Ordering::Relaxed) != 0 && !state.ended;
        let near = !state.all && state.pending.len() < BEHIND;
        self.relied.store(heard && near, Ordering::SeqCst);
    }

    /// The guest does not listen any more.
    fn leave(&self) {
        self.listener.store(0, Ordering::Relaxed);
        let mut state = guard(&self.state);
        // Who comes next does not know what this one has missed.
        (state.reader, state.all) = (None, true);
        self.settle(&state);
    }

    /// The guest starts anew, or its VM is gone.
    pub(super) fn clear(&self, ended: bool) {
        self.marks.clear();
        self.listener.store(0, Ordering::Relaxed);
        let mut state = guard(&self.state);
        *state = State {
            ended: state.ended || ended,
            ..State::default()
        };
        self.settle(&state);
        drop(state);
        self.moved.notify_all();
        self.wake();
    }

    /// Has everything that the guest knows looked up again, and waits for it.
    pub(super) fn call_back(&self) {
        let mut state = guard(&self.state);
        state.all = true;
        self.settle(&state);
        self.wake();
        let (mut left, began) = (usize::MAX, Instant::now());
        let mut since = began;
        let busy = |state: &State| state.all || !state.pending.is_empty() || state.reader.is_none();
        while busy(&state) && !state.ended {
            let waited = self.moved.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.pending.len() != left {
                (left, since) = (state.pending.len(), Instant::now());
            }
            let silent = self.listener.load(Ordering::Relaxed) == 0;
            let patience = if silent { BACK } else { STUCK };
            if since.elapsed() > patience || began.elapsed() > MOST {
                return;
            }
        }
    }
}

impl Fs {
    /// What the file looks like.
    pub(super) fn changes_attr() -> Attr {
        Attr {
            ino: NODE,
            mode: libc::S_IFREG | 0o400,
            nlink: 1,
            ..Attr::default()
        }
    }

    /// The guest asks for changes.
    pub(super) fn read_changes(&self, header: &Header, answer: Answer) {
        self.changes.listen(header, answer);
    }

    /// It does not ask any more.
    pub(super) fn leave_changes(&self) {
        self.changes.leave();
    }

    /// Follows what others change, on a thread, until the VM is gone.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub(crate) fn follow(self: &Arc<Self>) -> io::Result<()> {
        let this = Arc::clone(self);
        let thread = std::thread::Builder::new().name("changes".to_owned());
        thread.spawn(move || this.follow_on()).map(drop)
    }

    fn follow_on(&self) {
        let changes = &self.changes;
        loop {
            let wait = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let group: Option<BorrowedFd<'_>> = changes.marks.descriptor();
            let mut fds: Vec<PollFd<'_>> = vec![wait(changes.wake.as_fd())];
            fds.extend(group.map(wait));
            let _ = poll(&mut fds, None);
            let _ = rustix::io::read(&changes.wake, &mut [0; 8]);
            if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
                std::thread::sleep(GATHER);
            }
            let seen = changes.marks.read();
            if guard(&changes.state).ended {
                return;
            }
            self.tell(seen);
        }
    }

    /// Tells what was seen, and whatever else is to be told.
    fn tell(&self, seen: Seen) {
        let changes = &self.changes;
        let mut state = guard(&changes.state);
        state.all |= seen.lost;
        // While nobody listens, everything is looked up later.
        if changes.listener.load(Ordering::Relaxed) != 0 {
            state.pending.extend(seen.names);
            let tree = self.tree();
            let own = seen.dirs.iter().filter_map(|dir| tree.name_of(*dir));
            state.pending.extend(own);
        }
        if state.all && state.reader.is_some() {
            state.all = false;
            let absent = std::mem::take(&mut state.absent);
            state.pending.extend(absent);
            state.pending.extend(self.tree().all_names());
        }
        changes.settle(&state);
        if !state.pending.is_empty()
            && let Some(reader) = state.reader.take()
        {
            let bytes = self.batch(&mut state.pending, reader.data_bytes());
            match bytes.is_empty() {
                // None of it has a place any more.
                true => state.reader = Some(reader),
                false => reader.give(Ok(bytes)),
            }
        }
        drop(state);
        changes.moved.notify_all();
    }

    /// Takes paths out, each with a NUL behind it, as many as there is room.
    fn batch(&self, pending: &mut BTreeSet<(u64, Vec<u8>)>, room: usize) -> Vec<u8> {
        let (mut bytes, mut count) = (Vec::new(), 0);
        let tree = self.tree();
        while count < BATCH
            && let Some((parent, name)) = pending.pop_first()
        {
            let Some(path) = path(&tree, parent, &name) else {
                continue;
            };
            if bytes.len() + path.len() + 1 > room {
                if !bytes.is_empty() {
                    pending.insert((parent, name));
                }
                break;
            }
            bytes.extend(path);
            bytes.push(0);
            count += 1;
        }
        bytes
    }

    /// Watches a directory that the guest looks into. `true`: from now on.
    pub(super) fn watch(&self, share: u32, node: u64, dir: impl AsFd) -> bool {
        self.kind(share) != Kind::File
            && self.changes.is_relied()
            && !self.changes.marks.has(node)
            && self.changes.marks.add(node, dir)
    }
}

/// From the top directory.
fn path(tree: &Tree, parent: u64, name: &[u8]) -> Option<Vec<u8>> {
    if parent == ROOT {
        return Some(name.to_vec());
    }
    let (share, paths) = tree.place(parent).ok()?;
    let mut path = share.to_string().into_bytes();
    for part in [paths.first()?.as_slice(), name] {
        if !part.is_empty() {
            path.push(b'/');
            path.extend(part);
        }
    }
    Some(path)
}
