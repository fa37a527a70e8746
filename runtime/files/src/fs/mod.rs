//! The file system of one VM: carries out FUSE requests.

mod absent;
mod append;
mod changes;
mod counted;
mod dir;
mod entry;
mod handles;
mod io;
mod journal;
mod leases;
mod locks;
mod looker;
mod make;
mod marks;
mod meta;
mod moved;
mod nameless;
mod permission;
mod remove;
mod resolve;
mod syncs;
#[cfg(test)]
mod tests;
mod tree;
mod xattr;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::fuse::{Args, Attr, HEADER, Header, Out, Res, init, op};
use crate::link::ToKeeper;
use crate::server::{Answer, Left, Request, ToTheKeeper};
use crate::spec::{Kind, Share};
use changes::Changes;
use handles::{Files, Open, Room};
use journal::{Deed, Journal, Record};
use leases::Lease;
pub(crate) use leases::Leases;
pub(crate) use locks::Locks;
use looker::Looker;
use rustix::time::ClockId;
use syncs::Syncs;
use tree::Tree;

/// Largest read or write, in bytes.
const LARGEST: u32 = 1 << 20;

/// The file system of one VM.
#[derive(Debug)]
pub(crate) struct Fs {
    session: u64,
    shares: Vec<Share>,
    roots: Vec<OwnedFd>,
    /// Device number of each root.
    devices: Vec<u64>,
    tree: Mutex<Tree>,
    journal: Mutex<Journal>,
    files: Mutex<Files>,
    dirs: Mutex<HashMap<u64, Arc<OwnedFd>>>,
    next_handle: AtomicU64,
    keeper: ToTheKeeper,
    common: Common,
    held: Vec<Arc<Lease>>,
    looker: Looker,
    changes: Arc<Changes>,
    syncs: Syncs,
    /// Requests that cannot be done twice and are not answered yet.
    begun: Mutex<Begun>,
    /// Those of an earlier server.
    earlier: Begun,
    /// When this one took over: nanoseconds since the epoch.
    since: u64,
    /// Answers that the guest could not be given yet.
    left: Arc<Left>,
}

/// By their numbers, with what tells whether they have been carried out.
type Begun = HashMap<u64, Deed>;

/// Of those that a server has noted, only the last ones can be under way at its end.
const MOST_BEGUN: usize = 8192;

/// What the file systems of all VMs have together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Common {
    locks: Arc<Locks>,
    leases: Arc<Leases>,
    room: Room,
    all: Arc<Mutex<BTreeMap<u64, Weak<Fs>>>>,
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fs {
    /// Takes the VM's file system over where the journal ends.
    pub(crate) fn open(
        session: u64,
        shares: Vec<Share>,
        roots: Vec<OwnedFd>,
        journal: OwnedFd,
        keeper: ToTheKeeper,
        common: Common,
    ) -> std::io::Result<Arc<Fs>> {
        if roots.len() != shares.len() {
            return Err(std::io::Error::other("a root is missing"));
        }
        let (journal, records) = Journal::open(journal)?;
        let mut tree = Tree::new(shares.len());
        let used = !records.is_empty();
        let changes = Arc::new(Changes::new(used)?);
        let begun = |record: &Record| match record {
            Record::Begun { request, deed } => Some((*request, *deed)),
            _ => None,
        };
        let mut earlier = Begun::new();
        for (request, deed) in records.iter().rev().filter_map(begun).take(MOST_BEGUN) {
            earlier.entry(request).or_insert(deed);
        }
        for record in &records {
            tree.replay(record);
            changes.replay(record);
            if let Record::Locks {
                identity,
                owner,
                flock,
                ranges,
            } = record
            {
                common
                    .locks
                    .restore(*identity, (session, *owner, *flock), ranges.clone());
            }
        }
        let held = common.leases.open(session, &shares, used, &changes);
        let device = |root: &OwnedFd| {
            let stat = resolve::stat(root).ok()?;
            Some(u64::from(stat.stx_dev_major) << 20 | u64::from(stat.stx_dev_minor))
        };
        let devices = roots.iter().map(|root| device(root).unwrap_or(0)).collect();
        // Never one that an earlier server gave.
        let first = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |since| since.as_nanos() as u64);
        let fs = Arc::new(Fs {
            session,
            shares,
            roots,
            devices,
            tree: Mutex::new(tree),
            journal: Mutex::new(journal),
            files: Mutex::default(),
            dirs: Mutex::default(),
            next_handle: AtomicU64::new(first),
            keeper,
            common,
            held,
            looker: Looker::default(),
            changes,
            syncs: Syncs::default(),
            begun: Mutex::default(),
            earlier,
            since: make::now(ClockId::Realtime),
            left: Arc::default(),
        });
        guard(&fs.common.all).insert(session, Arc::downgrade(&fs));
        Ok(fs)
    }

    /// An open file without a name that an earlier server left.
    pub(crate) fn held(&self, node: u64, file: File) {
        guard(&self.files).insert(node, Open::held(OwnedFd::from(file)));
    }

    /// The VM is gone.
    pub(crate) fn close(&self) {
        guard(&self.common.all).remove(&self.session);
        self.common.locks.end(self.session);
        self.common.leases.close(self.session);
        self.changes.clear(true);
    }

    /// Where answers are kept that cannot be given yet.
    pub(crate) fn left(&self) -> Arc<Left> {
        Arc::clone(&self.left)
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        guard(&self.tree)
    }

    /// Notes something for the next server, before it is answered. What is of the tree
    /// is noted while that is locked: nobody answers what is not noted yet.
    fn note(&self, records: impl IntoIterator<Item = Record>) -> Res<()> {
        let records: Vec<Record> = records.into_iter().collect();
        if records.is_empty() {
            return Ok(());
        }
        let mut journal = guard(&self.journal);
        journal.add(&records).map_err(|_| libc::ENOMEM)
    }

    /// Notes that a request begins that cannot be done twice, until it is answered.
    fn begin(&self, header: &Header, deed: Deed) -> Res<()> {
        let request = header.unique;
        guard(&self.begun).insert(request, deed);
        self.note([Record::Begun { request, deed }])
    }

    /// What is known of a request that is there again.
    fn begun(&self, header: &Header, again: bool) -> Option<Deed> {
        let known = |all: &Begun| all.get(&header.unique).copied().filter(|_| again);
        known(&guard(&self.begun)).or_else(|| known(&self.earlier))
    }

    /// Writes the journal anew when most of it is history.
    fn tidy(&self) {
        if !guard(&self.journal).is_large() {
            return;
        }
        let session = self.session;
        let absent = self.changes.records();
        // The order in which they are locked everywhere: locks, tree, journal.
        self.common.locks.with_records(session, |locks| {
            let tree = self.tree();
            let mut journal = guard(&self.journal);
            // Another thread may have done it.
            if !journal.is_large() {
                return;
            }
            let mut records = tree.records();
            records.extend(locks);
            records.extend(absent);
            let mut begun = self.earlier.clone();
            begun.extend(guard(&self.begun).clone());
            let begun = begun.into_iter();
            records.extend(begun.map(|(request, deed)| Record::Begun { request, deed }));
            match journal.renew(&records) {
                // Before anybody writes to it.
                Ok(file) => self
                    .keeper
                    .send(&ToKeeper::Journal { session }, Some(file.as_fd())),
                Err(error) => tracing::warn!(%error, "a journal cannot be written anew"),
            }
        });
    }

    /// The share of a node that something is to change.
    fn writable(&self, node: u64) -> Res<u32> {
        let share = self.tree().share(node)?;
        match self.shares[share as usize].read_only {
            true => Err(libc::EROFS),
            false => Ok(share),
        }
    }

    /// The guest may rely on something of this share for a while.
    fn lasts(&self, share: u32) -> bool {
        self.common.leases.grant(&self.held[share as usize], false) > 0
    }

    /// The guest is told when something in this directory changes.
    fn is_told(&self, share: u32, parent: u64) -> bool {
        let watched = self.kind(share) != Kind::File && self.changes.marks.has(parent);
        watched && self.changes.is_relied()
    }

    /// How long the guest may rely on a name: milliseconds.
    fn name_ms(&self, header: &Header, share: u32, parent: u64) -> u64 {
        match self.changes.is_listener(header) {
            // Whoever looks next looks for himself.
            true => 0,
            false => {
                let told = self.is_told(share, parent);
                self.common.leases.grant(&self.held[share as usize], told)
            }
        }
    }

    /// How long it may rely on attributes of a node in this directory.
    fn attr_ms(&self, header: &Header, (share, parent, node): (u32, u64, u64), attr: &Attr) -> u64 {
        if self.changes.is_listener(header) || attr.is_lookers && !self.looker.is_alone() {
            return 0;
        }
        // Another name of a file may be anywhere.
        let known = match attr.mode & libc::S_IFMT {
            libc::S_IFDIR => self.is_told(share, node),
            _ => self.kind(share) == Kind::Volume || attr.nlink == 1,
        };
        // Whoever takes a path into the user's files asks about their top
        // directory: so another user is noticed who finds all else known.
        let noticed = self.kind(share) == Kind::Bind && node == Tree::root_of(share);
        let told = known && !noticed && self.is_told(share, parent);
        if told && attr.is_lookers {
            self.looker.rely();
        }
        self.common.leases.grant(&self.held[share as usize], told)
    }

    /// The same of a node wherever it is.
    fn node_ms(&self, header: &Header, share: u32, node: u64, attr: &Attr) -> u64 {
        let parent = match self.tree().name_of(node) {
            Some((tree::ROOT, _)) | None => node,
            Some((parent, _)) => parent,
        };
        self.attr_ms(header, (share, parent, node), attr)
    }

    /// Carries out a request and answers it, now or later.
    pub(crate) fn handle(self: &Arc<Self>, header: &Header, request: Request, answer: Answer) {
        let Header {
            opcode, node, pid, ..
        } = *header;
        tracing::trace!(opcode, node, pid, "request");
        // The machine was halted before it had the answer.
        if request.again
            && let Some(result) = self.left.take(opcode, header.unique)
        {
            answer.give(result);
            return self.over(header);
        }
        let looks = matches!(
            header.opcode,
            op::LOOKUP
                | op::GETATTR
                | op::SETATTR
                | op::OPEN
                | op::OPENDIR
                | op::READDIR
                | op::READDIRPLUS
                | op::CREATE
                | op::MKDIR
        );
        if !looks || self.changes.is_listener(header) || !self.looker.is_new(header.uid) {
            return self.act(header, request, answer);
        }
        // What the guest relies on belongs to another user there.
        self.looker.seen(header.uid);
        let slot = Arc::new(Mutex::new(Some((request, answer))));
        let (this, own, header) = (Arc::clone(self), Arc::clone(&slot), *header);
        let run = move |wait: bool| {
            if wait {
                this.changes.call_back(changes::OVER);
            }
            let taken = guard(&own).take();
            if let Some((request, answer)) = taken {
                this.act(&header, request, answer);
            }
        };
        let again = run.clone();
        if std::thread::Builder::new()
            .spawn(move || run(true))
            .is_err()
        {
            // It is looked up again all the same, only later.
            again(false);
        }
    }

    fn act(self: &Arc<Self>, header: &Header, request: Request, answer: Answer) {
        self.carry_out(header, request, answer);
        self.over(header);
        self.tidy();
    }

    /// What is answered is not asked again.
    fn over(&self, header: &Header) {
        let notes = matches!(
            header.opcode,
            op::CREATE
                | op::RENAME
                | op::RENAME2
                | op::UNLINK
                | op::RMDIR
                | op::MKDIR
                | op::MKNOD
                | op::SYMLINK
                | op::WRITE
        );
        if notes && !self.left.has(header.unique) {
            guard(&self.begun).remove(&header.unique);
        }
    }

    fn carry_out(self: &Arc<Self>, header: &Header, request: Request, answer: Answer) {
        let args = Args(&request.bytes[HEADER..]);
        let again = request.again;
        let result = match header.opcode {
            op::FORGET | op::BATCH_FORGET => {
                self.forget(header, args);
                return answer.none();
            }
            op::INTERRUPT => return answer.none(),
            op::READ if changes::is_file(header.node) => {
                return self.read_changes(header, again, answer);
            }
            op::READ => return self.read(header, args, answer),
            op::WRITE => self.write(header, args, &request, &answer),
            op::FSYNC => return self.fsync(header, args, answer),
            op::FSYNCDIR => return self.fsync_dir(header, answer),
            op::SYNCFS => return self.sync_all(answer),
            op::SETLKW => return self.lock_and_wait(header, args, answer),
            op::INIT => self.init(args),
            op::DESTROY => self.forget_all().map(|()| Vec::new()),
            op::LOOKUP => self.lookup(header, args),
            op::GETATTR => self.getattr(header),
            op::SETATTR => self.setattr(header, args),
            op::READLINK => self.readlink(header),
            op::SYMLINK => self.symlink(header, args, again),
            op::MKNOD => self.mknod(header, args, again),
            op::MKDIR => self.mkdir(header, args, again),
            op::CREATE => self.create(header, args, again),
            op::LINK => self.link(header, args, again),
            op::UNLINK => self.unlink(header, args, again),
            op::RMDIR => self.rmdir(header, args, again),
            op::RENAME => self.rename(header, args, false, again),
            op::RENAME2 => self.rename(header, args, true, again),
            op::OPEN => self.open_file(header, args),
            op::RELEASE => return answer.whenever().give(self.release(header, args)),
            op::FLUSH => self.flush(header, args),
            op::STATFS => self.statfs(header),
            op::FALLOCATE => self.fallocate(header, args),
            op::LSEEK => self.lseek(header, args),
            op::COPY_FILE_RANGE => self.copy_range(header, args),
            op::OPENDIR => self.open_dir(header),
            op::READDIR => self.read_dir(header, args, false),
            op::READDIRPLUS => self.read_dir(header, args, true),
            op::RELEASEDIR => return answer.whenever().give(self.release_dir(args)),
            op::SETXATTR => self.set_xattr(header, args, again),
            op::GETXATTR => self.get_xattr(header, args),
            op::LISTXATTR => self.list_xattr(header, args),
            op::REMOVEXATTR => self.remove_xattr(header, args, again),
            op::GETLK => self.test_lock(header, args),
            op::SETLK => self.set_lock(header, args),
            // The guest then goes without.
            _ => Err(libc::ENOSYS),
        };
        answer.give(result);
    }

    fn init(&self, mut args: Args<'_>) -> Res<Vec<u8>> {
        let (major, minor) = (args.u32()?, args.u32()?);
        let (readahead, offered) = (args.u32()?, args.u32()?);
        let second = match offered & init::INIT_EXT {
            0 => 0,
            _ => args.u32()?,
        };
        if major != 7 || minor < 31 {
            return Err(libc::EPROTO);
        }
        self.forget_all()?;
        self.common.leases.call_back(&self.held);
        std::thread::sleep(self.common.leases.pause(&self.held));
        let wanted = init::ASYNC_READ
            | init::POSIX_LOCKS
            | init::FLOCK_LOCKS
            | init::BIG_WRITES
            | init::AUTO_INVAL_DATA
            | init::PARALLEL_DIROPS
            | init::MAX_PAGES
            | init::DO_READDIRPLUS
            | init::READDIRPLUS_AUTO
            | init::HANDLE_KILLPRIV_V2
            | init::INIT_EXT;
        let mut out = Out::default()
            .u32(7)
            .u32(minor.min(crate::fuse::MINOR))
            .u32(readahead.min(LARGEST))
            .u32(offered & wanted)
            // Requests in the background, and when to hold them back.
            .u16(64)
            .u16(48)
            .u32(LARGEST)
            // Time stamps in nanoseconds.
            .u32(1)
            .u16((LARGEST / 4096) as u16)
            .u16(0)
            .u32(second & init::QUIET);
        for _ in 0..7 {
            out = out.u32(0);
        }
        Ok(out.0)
    }

    /// The guest starts anew.
    fn forget_all(&self) -> Res<()> {
        self.common.locks.end(self.session);
        self.tree().clear();
        self.left.clear();
        let files = std::mem::take(&mut *guard(&self.files));
        for (node, _) in files.into_iter().filter(|(_, open)| open.held) {
            let session = self.session;
            self.keeper.send(&ToKeeper::Release { session, node }, None);
        }
        guard(&self.dirs).clear();
        self.changes.clear(false);
        guard(&self.journal).clear().map_err(|_| libc::EIO)
    }

    fn forget(&self, header: &Header, mut args: Args<'_>) {
        let one = |node: u64, times: u64| {
            let gone = {
                let mut tree = self.tree();
                let (gone, record) = tree.forget(header.unique, node, times);
                let _ = self.note(record);
                gone
            };
            if !gone {
                return;
            }
            self.changes.marks.forget(node);
            let open = guard(&self.files).remove(&node);
            if open.is_some_and(|open| open.held) {
                let session = self.session;
                self.keeper.send(&ToKeeper::Release { session, node }, None);
            }
        };
        if header.opcode == op::FORGET {
            if let Ok(times) = args.u64() {
                one(header.node, times);
            }
        } else {
            let count = args.u32().unwrap_or(0);
            let _ = args.u32();
            for _ in 0..count {
                let (Ok(node), Ok(times)) = (args.u64(), args.u64()) else {
                    break;
                };
                one(node, times);
            }
        }
    }
}
