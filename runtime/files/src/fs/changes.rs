//! Tells the guest of what has changed, for virtio-fs has no way to. A process
//! of the guest's (`vminit/src/changes.rs`) reads from a made-up file beside
//! the shares; it gets names, looks each up again past everything its kernel
//! remembers, and reads on, which says that it has done so. While it listens,
//! a guest may rely on what it knows for [`LONG`]: whatever goes wrong, what it
//! knows is not older. With each name it gets what has happened, so that its
//! kernel tells those who watch (inotify(7)).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::absent::Absent;
use super::journal::Record;
use super::leases::SLACK;
use super::marks::{Marks, Seen, moves, removes};
use super::tree::{ROOT, Tree};
use super::{Fs, guard};
use crate::fuse::{Attr, Header};
use crate::server::Answer;
use crate::spec::Kind;

/// Node and name of the file, for guests that do not ask what has happened.
const NODE: u64 = u64::MAX;
const NAME: &[u8] = b"changes";
/// Where there is a number before each name (native order): what has happened.
const EVENTS_NODE: u64 = u64::MAX - 1;
const EVENTS_NAME: &[u8] = b"events";
/// How long a guest that listens may rely on what it knows, in milliseconds.
/// Not every change is told: one by a mapping on the host when the mapping's
/// file is closed, one by another name of a file or of a directory never.
pub(super) const LONG: u64 = 5000;
/// A guest that has more names to look up than this is not told to rely on
/// more.
const BEHIND: usize = 1000;
/// Names that a guest is told at once: it is seen how far it has come.
const BATCH: usize = 128;
/// Most names that are remembered as not there, in the time of a promise.
pub(super) const ABSENT: usize = 1 << 16;
/// A guest that is to be told of more names than this, beside all that it knows,
/// looks everything up again instead.
const PENDING: usize = 1 << 16;
/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(2);
/// Until all that was promised is over.
pub(super) const OVER: Duration = Duration::from_millis(LONG + SLACK);

/// A directory and a name in it.
type Name = (u64, Vec<u8>);
/// What has happened to names; 0: nothing that is known of.
type Pending = BTreeMap<Name, u32>;

/// The node is one of the made-up files.
pub(super) fn is_file(node: u64) -> bool {
    matches!(node, NODE | EVENTS_NODE)
}

/// The made-up file of this name.
pub(super) fn file(name: &[u8]) -> Option<u64> {
    match name {
        NAME => Some(NODE),
        EVENTS_NAME => Some(EVENTS_NODE),
        _ => None,
    }
}

/// Notes that these things have happened to a name.
fn add(pending: &mut Pending, name: Name, mask: u32) {
    *pending.entry(name).or_default() |= mask;
}

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
    /// Numbers go with the names.
    events: bool,
    pending: Pending,
    /// What it was told last, until it asks for more.
    told: Vec<(Name, u32)>,
    /// Names that it takes for not there.
    absent: Absent,
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

    /// Somebody listens, or did until a moment ago.
    fn has_listener(&self) -> bool {
        self.listener.load(Ordering::Relaxed) != 0
    }

    /// It is the process that looks names up again.
    pub(super) fn is_listener(&self, header: &Header) -> bool {
        header.pid != 0 && header.pid == self.listener.load(Ordering::Relaxed)
    }

    /// The guest takes this name for not there. `None`: it cannot be kept;
    /// otherwise a record if it is a new one.
    pub(super) fn absent(&self, parent: u64, name: &[u8]) -> Option<Option<Record>> {
        let mut state = guard(&self.state);
        if !self.is_relied() {
            return None;
        }
        let news = state.absent.add(parent, name)?;
        Some(news.then(|| Record::Absent {
            parent,
            name: name.to_vec(),
        }))
    }

    /// Takes a record of an earlier server.
    pub(super) fn replay(&self, record: &Record) {
        if let Record::Absent { parent, name } = record {
            guard(&self.state).absent.replay(*parent, name);
        }
    }

    /// All of them.
    pub(super) fn records(&self) -> Vec<Record> {
        let one = |(parent, name): (u64, Vec<u8>)| Record::Absent { parent, name };
        let all = guard(&self.state).absent.all();
        all.into_iter().map(one).collect()
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// The guest has done what it was told, and waits for more. `again`: it has
    /// not, for it was halted or the server was another.
    fn listen(&self, header: &Header, again: bool, answer: Answer) {
        let earlier = self.listener.swap(header.pid, Ordering::Relaxed);
        let mut state = guard(&self.state);
        // What was looked up before is not watched.
        state.all |= earlier != header.pid;
        let told = std::mem::take(&mut state.told);
        state.events = header.node == EVENTS_NODE;
        if again {
            for (name, mask) in told {
                add(&mut state.pending, name, mask);
            }
        }
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
        let heard = self.has_listener() && !state.ended;
        let near = !state.all && state.pending.len() < BEHIND;
        self.relied.store(heard && near, Ordering::SeqCst);
    }

    /// The guest does not listen any more.
    fn leave(&self) {
        let mut state = guard(&self.state);
        // Who comes next does not know what this one has missed.
        state.all = true;
        // If somebody reads, it has come already.
        if state.reader.is_none() {
            self.listener.store(0, Ordering::Relaxed);
        }
        self.settle(&state);
        drop(state);
        self.wake();
    }

    /// The guest looks everything up again: nothing is watched until it has.
    fn begin_anew(&self) {
        let mut state = guard(&self.state);
        state.all = true;
        self.settle(&state);
        drop(state);
        self.marks.clear();
        self.wake();
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

    /// Has everything that the guest knows looked up again, and waits for it,
    /// so long at most: then what it was promised is over.
    pub(super) fn call_back(&self, most: Duration) {
        let end = Instant::now() + most;
        let mut state = guard(&self.state);
        state.all = true;
        self.settle(&state);
        self.wake();
        let busy = |state: &State| state.all || !state.pending.is_empty() || state.reader.is_none();
        while busy(&state) && !state.ended {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.moved.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Fs {
    /// What the file looks like.
    pub(super) fn changes_attr(node: u64) -> Attr {
        Attr {
            ino: node,
            mode: libc::S_IFREG | 0o400,
            nlink: 1,
            ..Attr::default()
        }
    }

    /// The guest asks for changes.
    pub(super) fn read_changes(&self, header: &Header, again: bool, answer: Answer) {
        self.changes.listen(header, again, answer);
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
            for ((parent, name), _) in seen.names.iter().filter(|(_, mask)| removes(**mask)) {
                self.after_removal_elsewhere(*parent, name);
            }
            for ((parent, name), _) in seen.names.iter().filter(|(_, mask)| moves(**mask)) {
                self.after_move_elsewhere(*parent, name);
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
        if changes.has_listener() {
            let tree = self.tree();
            let own = seen.dirs.iter().filter_map(|dir| tree.name_of(*dir));
            let own = own.map(|name| (name, 0));
            for (name, mask) in seen.names.into_iter().chain(own) {
                add(&mut state.pending, name, mask);
            }
            // So many are pending when everything is, and some more.
            if state.pending.len() > tree.count() + 2 * ABSENT + PENDING {
                state.pending.clear();
                state.all = true;
            }
        }
        if state.all && state.reader.is_some() {
            state.all = false;
            let absent = std::mem::take(&mut state.absent);
            for name in absent.all().into_iter().chain(self.tree().all_names()) {
                add(&mut state.pending, name, 0);
            }
        }
        changes.settle(&state);
        if !state.pending.is_empty()
            && let Some(reader) = state.reader.take()
        {
            let room = reader.data_bytes();
            let State {
                pending,
                told,
                events,
                ..
            } = &mut *state;
            let bytes = self.batch(pending, told, *events, room);
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
    fn batch(
        &self,
        pending: &mut Pending,
        told: &mut Vec<(Name, u32)>,
        events: bool,
        room: usize,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let tree = self.tree();
        while told.len() < BATCH
            // What is in a directory before the directory, which may be gone.
            && let Some((name, mask)) = pending.pop_last()
        {
            let Some(path) = path(&tree, name.0, &name.1) else {
                continue;
            };
            let number = if events { &mask.to_ne_bytes()[..] } else { &[] };
            let length = number.len() + path.len();
            if length >= room {
                // There is no place for it in any answer.
                continue;
            }
            if bytes.len() + length >= room {
                pending.insert(name, mask);
                break;
            }
            bytes.extend(number);
            bytes.extend(path);
            bytes.push(0);
            told.push((name, mask));
        }
        bytes
    }

    /// Watches a directory that the guest looks into. `true`: from now on.
    pub(super) fn watch(&self, share: u32, node: u64, dir: impl AsFd) -> bool {
        let marks = &self.changes.marks;
        if self.kind(share) == Kind::File || !self.changes.has_listener() || marks.has(node) {
            return false;
        }
        if marks.is_full() {
            self.changes.begin_anew();
            return false;
        }
        marks.add(node, dir)
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
