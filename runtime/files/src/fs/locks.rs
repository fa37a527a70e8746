//! Locks of all VMs: flock(2) and the record locks of fcntl(2). A lock lasts
//! until its owner gives it up, its file is closed, or its VM is gone. A lock
//! that is waited for is answered when it is free: the guest's kernel cannot
//! take the request back, so the process waits until then, come what may. Two that
//! wait for each other are not noticed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Fs;
use super::journal::Record;
use super::resolve::identity;
use super::tree::Identity;
use crate::fuse::{Args, Header, LOCK_FLOCK, Out, Res};
use crate::keeper::device::QUEUE_SIZE;
use crate::server::Answer;

/// Ranges that one owner may have locked in one file.
const RANGES: usize = 4096;
/// Locks that a VM may wait for: each is a request that is not answered, and without
/// room in the queue (which may be half of the longest one) its files would stand still.
const WAITING: usize = QUEUE_SIZE as usize / 4;
/// Ranges that a VM may have locked in all files: each is in memory, and in the
/// journal, and the server is everybody's.
const OF_A_VM: usize = 65_536;

/// Bytes of a file, last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) write: bool,
}

/// All of a file.
const WHOLE: Range = Range {
    start: 0,
    end: u64::MAX,
    write: false,
};

impl Range {
    fn meets(&self, other: &Range) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// They are one lock: of the same kind, and nothing is between them.
    fn joins(&self, other: &Range) -> bool {
        self.write == other.write
            && self.start <= other.end.saturating_add(1)
            && other.start <= self.end.saturating_add(1)
    }
}

/// VM, owner within it, and whether it is by flock(2).
pub(super) type Owner = (u64, u64, bool);

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Lock,
    Unlock,
}

#[derive(Debug, Default)]
struct FileLocks {
    held: BTreeMap<Owner, Vec<Range>>,
    /// The owners' processes in their VMs, as far as this server has seen them.
    processes: BTreeMap<Owner, u32>,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    owner: Owner,
    range: Range,
    process: u32,
    fs: Arc<Fs>,
    answer: Answer,
}

/// The locks of all files that have some.
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    files: BTreeMap<Identity, FileLocks>,
    counts: Counts,
}

impl All {
    /// How many locks the VM waits for.
    fn waiting(&self, session: u64) -> usize {
        let waiting = self.files.values().flat_map(|file| &file.waiting);
        waiting.filter(|one| one.owner.0 == session).count()
    }
}

/// How many ranges each VM has locked.
#[derive(Debug, Default)]
struct Counts(BTreeMap<u64, usize>);

impl Counts {
    /// Some ranges have become more or fewer.
    ///
    /// # Errors
    /// `ENOLCK`: that would be too many.
    fn change(&mut self, session: u64, before: usize, after: usize) -> Res<()> {
        let count = self.0.entry(session).or_default();
        let new = count.saturating_sub(before) + after;
        if after > before && new > OF_A_VM {
            return Err(libc::ENOLCK);
        }
        *count = new;
        Ok(())
    }
}

impl FileLocks {
    /// Somebody else's lock that is in the way. flock(2) and fcntl(2) do not
    /// see each other.
    fn conflict(&self, owner: Owner, range: &Range) -> Option<(Owner, Range)> {
        let others = self
            .held
            .iter()
            .filter(|(other, _)| **other != owner && other.2 == owner.2);
        let mut held = others.flat_map(|(other, held)| held.iter().map(|one| (*other, *one)));
        held.find(|(_, held)| held.meets(range) && (held.write || range.write))
    }

    /// Sets or clears the owner's lock on the range; gives all it has then.
    fn set(
        &mut self,
        counts: &mut Counts,
        owner: Owner,
        mut range: Range,
        want: Want,
    ) -> Res<Vec<Range>> {
        let before = self.held.get(&owner).map_or(0, Vec::len);
        let mut ranges = Vec::new();
        for held in self.held.get(&owner).into_iter().flatten() {
            if want == Want::Lock && held.joins(&range) {
                range.start = range.start.min(held.start);
                range.end = range.end.max(held.end);
                continue;
            }
            if !held.meets(&range) {
                ranges.push(*held);
                continue;
            }
            if held.start < range.start {
                let end = range.start - 1;
                ranges.push(Range { end, ..*held });
            }
            if held.end > range.end {
                let start = range.end + 1;
                ranges.push(Range { start, ..*held });
            }
        }
        if want == Want::Lock {
            ranges.push(range);
        }
        if ranges.len() > RANGES {
            return Err(libc::ENOLCK);
        }
        counts.change(owner.0, before, ranges.len())?;
        if ranges.is_empty() {
            self.held.remove(&owner);
            self.processes.remove(&owner);
        } else {
            self.held.insert(owner, ranges.clone());
        }
        Ok(ranges)
    }
}

fn record(identity: Identity, owner: Owner, ranges: Vec<Range>) -> Record {
    Record::Locks {
        identity,
        owner: owner.1,
        flock: owner.2,
        ranges,
    }
}

impl Locks {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An owner's locks as an earlier server knew them.
    pub(super) fn restore(&self, identity: Identity, owner: Owner, ranges: Vec<Range>) {
        let mut all = self.all();
        let All { files, counts } = &mut *all;
        let file = files.entry(identity).or_default();
        let before = file.held.get(&owner).map_or(0, Vec::len);
        // An earlier server has counted: there are not too many.
        let _ = counts.change(owner.0, before, ranges.len());
        match ranges.is_empty() {
            true => file.held.remove(&owner),
            false => file.held.insert(owner, ranges),
        };
    }

    /// The locks of one VM as records, for `act` to use while none changes.
    pub(super) fn with_records<T>(&self, session: u64, act: impl FnOnce(Vec<Record>) -> T) -> T {
        let of = |(identity, file): (&Identity, &FileLocks)| {
            let identity = *identity;
            let held = file.held.iter().filter(|(owner, _)| owner.0 == session);
            held.map(move |(owner, ranges)| record(identity, *owner, ranges.clone()))
                .collect::<Vec<_>>()
        };
        let all = self.all();
        act(all.files.iter().flat_map(of).collect())
    }

    /// The VM has no locks any more and waits for none.
    pub(super) fn end(&self, session: u64) {
        let mut all = self.all();
        let All { files, counts } = &mut *all;
        let mut gone = Vec::new();
        counts.0.remove(&session);
        for (identity, file) in files.iter_mut() {
            file.held.retain(|owner, _| owner.0 != session);
            file.processes.retain(|owner, _| owner.0 != session);
            let (ended, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut file.waiting)
                .into_iter()
                .partition(|waiting| waiting.owner.0 == session);
            file.waiting = waiting;
            gone.push(ended);
            grant(counts, *identity, file);
        }
        files.retain(|_, file| !file.held.is_empty() || !file.waiting.is_empty());
    }
}

/// Gives locks that have become free to those who wait, first come first.
fn grant(counts: &mut Counts, identity: Identity, file: &mut FileLocks) {
    let mut still = Vec::new();
    for waiting in std::mem::take(&mut file.waiting) {
        if file.conflict(waiting.owner, &waiting.range).is_some() {
            still.push(waiting);
            continue;
        }
        let Waiting {
            owner,
            range,
            process,
            fs,
            answer,
        } = waiting;
        file.processes.insert(owner, process);
        let set = file.set(counts, owner, range, Want::Lock);
        let noted = set.and_then(|ranges| fs.note([record(identity, owner, ranges)]));
        answer.give(noted.map(|()| Vec::new()));
    }
    file.waiting = still;
}

/// `fuse_lk_in`.
struct LockIn {
    owner: Owner,
    range: Range,
    kind: i32,
    process: u32,
}

impl LockIn {
    /// The owner wants nothing of the file any more.
    fn none(owner: Owner) -> LockIn {
        LockIn {
            owner,
            range: WHOLE,
            kind: libc::F_UNLCK,
            process: 0,
        }
    }
}

impl Fs {
    fn lock_in(&self, args: &mut Args<'_>) -> Res<LockIn> {
        let (_handle, owner) = (args.u64()?, args.u64()?);
        let (start, end) = (args.u64()?, args.u64()?);
        let (kind, process, flags) = (args.u32()? as i32, args.u32()?, args.u32()?);
        if end < start {
            return Err(libc::EINVAL);
        }
        let write = kind == libc::F_WRLCK;
        Ok(LockIn {
            owner: (self.session, owner, flags & LOCK_FLOCK != 0),
            range: Range { start, end, write },
            kind,
            process,
        })
    }

    /// Of a file that is open, whatever its names are by now.
    fn lock_identity(&self, node: u64) -> Res<Identity> {
        if let Some(known) = self.tree().get(node) {
            return Ok(known.identity);
        }
        match self.open_stat(node) {
            Some((_, stat)) => Ok(identity(&stat)),
            None => Ok(identity(&self.find(node)?.stat)),
        }
    }

    pub(super) fn test_lock(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let wanted = self.lock_in(&mut args)?;
        let identity = self.lock_identity(header.node)?;
        let all = self.common.locks.all();
        let file = all.files.get(&identity);
        let held = file.and_then(|file| file.conflict(wanted.owner, &wanted.range));
        let (range, kind) = match held {
            Some((_, held)) if held.write => (held, libc::F_WRLCK),
            Some((_, held)) => (held, libc::F_RDLCK),
            None => (wanted.range, libc::F_UNLCK),
        };
        // Another VM's process has no number here.
        let owner = held.map(|(owner, _)| owner);
        let owner = owner.filter(|owner| owner.0 == self.session);
        let process = owner.and_then(|owner| file?.processes.get(&owner));
        let out = Out::default().u64(range.start).u64(range.end);
        Ok(out.u32(kind as u32).u32(process.copied().unwrap_or(0)).0)
    }

    pub(super) fn set_lock(&self, header: &Header, mut args: Args<'_>) -> Res<Vec<u8>> {
        let wanted = self.lock_in(&mut args)?;
        let identity = self.lock_identity(header.node)?;
        let mut all = self.common.locks.all();
        self.take(&mut all, identity, &wanted)?;
        Ok(Vec::new())
    }

    /// `EAGAIN`: it is not free.
    fn take(&self, all: &mut All, identity: Identity, wanted: &LockIn) -> Res<()> {
        let All { files, counts } = all;
        let file = files.entry(identity).or_default();
        let want = if wanted.kind == libc::F_UNLCK {
            Want::Unlock
        } else {
            Want::Lock
        };
        let taken = match want {
            Want::Lock if file.conflict(wanted.owner, &wanted.range).is_some() => Err(libc::EAGAIN),
            Want::Lock | Want::Unlock => file.set(counts, wanted.owner, wanted.range, want),
        };
        if want == Want::Lock && taken.is_ok() {
            file.processes.insert(wanted.owner, wanted.process);
        }
        let noted = taken.and_then(|ranges| self.note([record(identity, wanted.owner, ranges)]));
        // What became smaller, or shared, may be what others wait for.
        grant(counts, identity, file);
        if file.held.is_empty() && file.waiting.is_empty() {
            files.remove(&identity);
        }
        noted
    }

    pub(super) fn lock_and_wait(
        self: &Arc<Self>,
        header: &Header,
        mut args: Args<'_>,
        answer: Answer,
    ) {
        let wanted = match self.lock_in(&mut args) {
            Ok(wanted) => wanted,
            Err(error) => return answer.give(Err(error)),
        };
        let identity = match self.lock_identity(header.node) {
            Ok(identity) => identity,
            Err(error) => return answer.give(Err(error)),
        };
        let mut all = self.common.locks.all();
        match self.take(&mut all, identity, &wanted) {
            Err(libc::EAGAIN) => {
                let (waiting, All { files, counts }) = (all.waiting(self.session), &mut *all);
                let file = files.entry(identity).or_default();
                // A machine that was halted asks again for what it waits for.
                let asked =
                    |other: &Waiting| other.owner == wanted.owner && other.answer.is_same(&answer);
                match file.waiting.iter().position(asked) {
                    Some(at) => drop(file.waiting.remove(at)),
                    None if waiting >= WAITING => return answer.give(Err(libc::ENOLCK)),
                    None => {}
                }
                if wanted.owner.2 {
                    // flock(2): what one has is given up before one waits.
                    let given = file.set(counts, wanted.owner, WHOLE, Want::Unlock);
                    let noted = given
                        .and_then(|ranges| self.note([record(identity, wanted.owner, ranges)]));
                    if let Err(error) = noted {
                        return answer.give(Err(error));
                    }
                }
                file.waiting.push(Waiting {
                    owner: wanted.owner,
                    range: wanted.range,
                    process: wanted.process,
                    fs: Arc::clone(self),
                    answer: answer.short(),
                });
                grant(counts, identity, file);
            }
            other => answer.give(other.map(|()| Vec::new())),
        }
    }

    /// An open file is closed: whatever it has locked is free.
    pub(super) fn unlock_everywhere(&self, owner: u64) {
        let mut all = self.common.locks.all();
        for flock in [true, false] {
            let owner = (self.session, owner, flock);
            let of = all
                .files
                .iter()
                .filter(|(_, file)| file.held.contains_key(&owner));
            for identity in of.map(|(identity, _)| *identity).collect::<Vec<_>>() {
                let _ = self.take(&mut all, identity, &LockIn::none(owner));
            }
        }
    }

    /// A process gives up all it has in this file by fcntl(2).
    pub(super) fn unlock_all(&self, node: u64, owner: u64) {
        let owner = (self.session, owner, false);
        if !self
            .common
            .locks
            .all()
            .files
            .values()
            .any(|file| file.held.contains_key(&owner))
        {
            return;
        }
        let Ok(identity) = self.lock_identity(node) else {
            return;
        };
        let mut all = self.common.locks.all();
        if all.files.contains_key(&identity) {
            let _ = self.take(&mut all, identity, &LockIn::none(owner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Owner = (1, 1, false);
    const B: Owner = (2, 1, false);

    fn range(start: u64, end: u64, write: bool) -> Range {
        Range { start, end, write }
    }

    #[test]
    fn readers_share_and_a_writer_does_not() {
        let mut file = FileLocks::default();
        let mut counts = Counts::default();
        file.set(&mut counts, A, range(0, 9, false), Want::Lock)
            .unwrap();
        assert_eq!(file.conflict(B, &range(5, 20, false)), None);
        assert_eq!(
            file.conflict(B, &range(5, 20, true)),
            Some((A, range(0, 9, false)))
        );
        assert_eq!(file.conflict(B, &range(10, 20, true)), None);
        // One's own is never in the way, and flock is another world.
        assert_eq!(file.conflict(A, &range(0, 9, true)), None);
        assert_eq!(file.conflict((2, 1, true), &range(0, 9, true)), None);
    }

    #[test]
    fn a_hole_splits_a_lock() {
        let mut file = FileLocks::default();
        let mut counts = Counts::default();
        file.set(&mut counts, A, range(0, u64::MAX, true), Want::Lock)
            .unwrap();
        let left = file
            .set(&mut counts, A, range(10, 19, false), Want::Unlock)
            .unwrap();
        assert_eq!(left, [range(0, 9, true), range(20, u64::MAX, true)]);
        assert_eq!(file.conflict(B, &range(10, 19, true)), None);
        let left = file
            .set(&mut counts, A, range(5, 25, false), Want::Lock)
            .unwrap();
        assert_eq!(
            left,
            [
                range(0, 4, true),
                range(26, u64::MAX, true),
                range(5, 25, false)
            ]
        );
        assert_eq!(
            file.set(&mut counts, A, range(0, u64::MAX, false), Want::Unlock)
                .unwrap(),
            []
        );
        assert!(file.held.is_empty());
    }

    #[test]
    fn what_touches_is_one_lock() {
        let mut file = FileLocks::default();
        let mut counts = Counts::default();
        let mut lock = |start, end, write| {
            file.set(&mut counts, A, range(start, end, write), Want::Lock)
                .unwrap()
        };
        for byte in 0..2 * RANGES as u64 {
            lock(byte, byte, true);
        }
        let last = 2 * RANGES as u64 - 1;
        assert_eq!(lock(3, 4, true), [range(0, last, true)]);
        let apart = range(last + 2, u64::MAX, true);
        assert_eq!(lock(last + 2, u64::MAX, true).len(), 2);
        // Of another kind it is another one.
        let two = [
            range(0, last, true),
            apart,
            range(last + 1, last + 1, false),
        ];
        assert_eq!(lock(last + 1, last + 1, false), two);
        assert_eq!(lock(last + 1, last + 1, true), [range(0, u64::MAX, true)]);
    }

    #[test]
    fn one_machine_does_not_have_room_for_all_locks() {
        let mut counts = Counts::default();
        let mut file = FileLocks::default();
        for owner in 0..OF_A_VM as u64 {
            let owner = (1, owner, true);
            file.set(&mut counts, owner, WHOLE, Want::Lock).unwrap();
        }
        let one_more = |counts: &mut Counts, file: &mut FileLocks, session| {
            file.set(counts, (session, u64::MAX, true), WHOLE, Want::Lock)
        };
        let refused = one_more(&mut counts, &mut file, 1);
        assert_eq!(refused, Err(libc::ENOLCK));
        // Others have their own room, and what is given up is room again.
        one_more(&mut counts, &mut file, 2).unwrap();
        file.set(&mut counts, (1, 7, true), WHOLE, Want::Unlock)
            .unwrap();
        one_more(&mut counts, &mut file, 1).unwrap();
    }
}
