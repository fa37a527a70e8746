//! The log of one container, as far as it is wanted.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use regex::Regex;
use stack_api::logs::LogLine;

use crate::container::Handle;
use crate::logs::{Entry, Reader};

/// Which lines.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Nanoseconds since the epoch.
    pub since: u64,
    /// Nanoseconds since the epoch.
    pub until: u64,
    /// What they hold.
    pub pattern: Option<Regex>,
}

/// Asks whether there is a client yet.
pub(super) type IsWanted<'a> = &'a dyn Fn() -> bool;

/// What a look for the next line comes to.
pub(super) enum Peek {
    /// There is one, of this time.
    At(u64),
    /// There is none for now.
    Nothing,
    /// It takes long to find it.
    Later,
}

/// Last lines are searched for in so many bytes first, and in eight times as many as long
/// as there are too few.
const NEAR_END: u64 = 1 << 20;

/// It is asked after so many entries, which may all be passed over.
const ASKED: u32 = 1000;

impl Wanted {
    fn fits(&self, entry: &Entry) -> bool {
        entry.time_ns >= self.since
            && entry.time_ns <= self.until
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(&entry.text()))
    }
}

/// A reader of one container's log.
pub(super) struct Follower {
    pub handle: Arc<Handle>,
    path: PathBuf,
    reader: Reader,
    wanted: Arc<Wanted>,
    /// Lines that have been read and are wanted.
    ready: VecDeque<Entry>,
    /// Entries that were read.
    read: u32,
}

impl Follower {
    pub(super) fn new(path: &Path, handle: &Arc<Handle>, wanted: Arc<Wanted>) -> Follower {
        Follower {
            handle: Arc::clone(handle),
            path: path.to_path_buf(),
            reader: Reader::open(path),
            wanted,
            ready: VecDeque::new(),
            read: 0,
        }
    }

    /// `Some(None)`: nothing new for now. `None`: the client has gone.
    #[expect(clippy::option_option, reason = "`?` is for the client")]
    fn next_entry(&mut self, wanted: IsWanted) -> Option<Option<Entry>> {
        self.read = self.read.wrapping_add(1);
        let asks = self.read.is_multiple_of(ASKED);
        (!asks || wanted()).then(|| self.reader.next_entry())
    }

    /// Passes over all but the last lines. What has no end is one of them when
    /// no more will come. `None`: the client has gone.
    pub(super) fn skip_to_tail(
        &mut self,
        tail: Option<u64>,
        no_more: bool,
        wanted: IsWanted,
    ) -> Option<()> {
        let Some(keep) = tail else { return Some(()) };
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let mut bytes = NEAR_END;
        loop {
            self.reader = Reader::near_end(&self.path, bytes);
            let is_all = self.reader.is_from_oldest();
            self.read_tail(keep, wanted)?;
            let is_enough = self.ready.len() >= keep && !self.reader.is_within_line();
            if is_all || is_enough {
                break;
            }
            bytes = bytes.saturating_mul(8);
        }
        self.reader.passes_over_no_more();
        if no_more {
            self.end();
            let too_many = self.ready.len().saturating_sub(keep);
            self.ready.drain(..too_many);
        }
        Some(())
    }

    /// Reads up to the end; the last lines, so many at most, are ready then.
    fn read_tail(&mut self, keep: usize, wanted: IsWanted) -> Option<()> {
        self.ready.clear();
        while let Some(entry) = self.next_entry(wanted)? {
            if self.reader.takes_note_of_gap() {
                // What is not known of came after these.
                self.ready.clear();
            }
            if self.wanted.fits(&entry) {
                self.ready.push_back(entry);
                if self.ready.len() > keep {
                    self.ready.pop_front();
                }
            }
        }
        if self.reader.takes_note_of_gap() {
            self.ready.clear();
        }
        Some(())
    }

    /// Looks for the next line, until then at most if that is given. `None`: the
    /// client has gone.
    pub(super) fn peek(&mut self, wanted: IsWanted, until: Option<Instant>) -> Option<Peek> {
        loop {
            if let Some(entry) = self.ready.front() {
                return Some(Peek::At(entry.time_ns));
            }
            let Some(entry) = self.next_entry(wanted)? else {
                return Some(Peek::Nothing);
            };
            if self.wanted.fits(&entry) {
                self.ready.push_back(entry);
            } else if self.read.is_multiple_of(ASKED)
                && until.is_some_and(|at| Instant::now() >= at)
            {
                return Some(Peek::Later);
            }
        }
    }

    /// The next line, after [`peek`](Self::peek).
    pub(super) fn next_line(&mut self) -> Option<LogLine> {
        let entry = self.ready.pop_front()?;
        let container = self.handle.container();
        let text = entry.text();
        Some(LogLine {
            container: container.name,
            service: container.service,
            number: container.number,
            time_ns: entry.time_ns,
            stderr: entry.stream == 2,
            line: text.trim_end_matches('\r').to_owned(),
            missed: self.reader.takes_note_of_missed(),
        })
    }

    /// No more will come: what has no end is a line, too.
    pub(super) fn end(&mut self) {
        let rest: Vec<Entry> = self.reader.rest().collect();
        self.ready
            .extend(rest.into_iter().filter(|entry| self.wanted.fits(entry)));
    }

    /// Nothing is written any more.
    pub(super) fn is_over(&self) -> bool {
        *self.handle.ended.borrow() || !self.handle.container().state.is_live()
    }
}
