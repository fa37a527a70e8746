//! A started process as the event loop sees it: a report of its start, its
//! input, its outputs.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::child::Refusal;
use crate::input::Input;

/// What can become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The report of its start.
    Report,
    /// Standard input.
    Input,
    /// Standard output or the terminal (0), standard error (1).
    Output(usize),
}

/// A process that was forked.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its id for the agent.
    pub pid: i32,
    /// Standard input.
    pub input: Input,
    report: Option<File>,
    said: Vec<u8>,
    outputs: [Option<OwnedFd>; 2],
}

impl Process {
    /// All descriptors must not block.
    pub(crate) fn new(
        pid: i32,
        report: File,
        input: Input,
        outputs: [Option<OwnedFd>; 2],
    ) -> Process {
        Process {
            pid,
            input,
            report: Some(report),
            said: Vec::new(),
            outputs,
        }
    }

    /// What to poll: outputs only where `reading` says so.
    pub(crate) fn interests(
        &self,
        reading: [bool; 2],
    ) -> impl Iterator<Item = (Part, BorrowedFd<'_>, PollFlags)> {
        let report = self
            .report
            .as_ref()
            .map(|f| (Part::Report, f.as_fd(), PollFlags::POLLIN));
        let input = self
            .input
            .waits_for()
            .map(|fd| (Part::Input, fd, PollFlags::POLLOUT));
        let outputs = self.outputs.iter().enumerate().filter_map(move |(n, fd)| {
            let fd = fd.as_ref().filter(|_| reading[n])?;
            Some((Part::Output(n), fd.as_fd(), PollFlags::POLLIN))
        });
        report.into_iter().chain(input).chain(outputs)
    }

    /// Reads the report: nothing while it is incomplete, then how the start
    /// went.
    pub(crate) fn started(&mut self) -> Option<Result<(), Refusal>> {
        let report = self.report.as_mut()?;
        let mut buffer = [0; 1024];
        loop {
            match report.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => self.said.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => break,
            }
        }
        self.report = None;
        Some(Refusal::read(&self.said))
    }

    /// Its start has not been reported yet.
    pub(crate) fn is_starting(&self) -> bool {
        self.report.is_some()
    }

    /// Reads at most `limit` bytes; `None`: nothing now. Empty: the end.
    pub(crate) fn read(&mut self, n: usize, limit: usize) -> Option<Vec<u8>> {
        let fd = self.outputs[n].as_ref()?;
        let mut buffer = vec![0; limit];
        let read = loop {
            match nix::unistd::read(fd, &mut buffer) {
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return None,
                // EIO: the terminal has no other side any more.
                Err(_) => break 0,
                Ok(read) => break read,
            }
        };
        if read == 0 {
            self.outputs[n] = None;
        }
        buffer.truncate(read);
        Some(buffer)
    }

    /// All its outputs have ended.
    pub(crate) fn is_silent(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }

    /// There is output that nobody has read.
    pub(crate) fn has_unread(&self) -> bool {
        self.outputs.iter().flatten().any(|fd| {
            let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).is_ok()
                && fds[0]
                    .revents()
                    .is_some_and(|found| found.contains(PollFlags::POLLIN))
        })
    }

    /// The terminal, or standard output.
    pub(crate) fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.outputs[0].as_ref().map(AsFd::as_fd)
    }
}
