//! Bytes on their way to a process's standard input.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

/// The writing end of a pipe, or a terminal.
#[derive(Debug, Default)]
pub(crate) struct Input {
    fd: Option<OwnedFd>,
    queue: VecDeque<u8>,
    ending: bool,
    terminal: bool,
}

impl Input {
    /// `fd` must not block.
    pub(crate) fn new(fd: Option<OwnedFd>, terminal: bool) -> Input {
        Input {
            fd,
            queue: VecDeque::new(),
            ending: false,
            terminal,
        }
    }

    /// What to poll for room.
    pub(crate) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.fd
            .as_ref()
            .filter(|_| !self.queue.is_empty())
            .map(AsFd::as_fd)
    }

    /// Takes bytes, an empty piece is the end; gives how many bytes the
    /// process has taken since the last call.
    pub(crate) fn push(&mut self, data: &[u8]) -> u32 {
        self.ending |= data.is_empty();
        self.queue.extend(data);
        self.flush()
    }

    /// Writes what fits; gives how many bytes are no longer here.
    pub(crate) fn flush(&mut self) -> u32 {
        let mut gone = 0;
        while let (Some(fd), (piece, _)) = (&self.fd, self.queue.as_slices())
            && !piece.is_empty()
        {
            match nix::unistd::write(fd, piece) {
                Ok(written) => {
                    self.queue.drain(..written);
                    gone += written;
                }
                Err(Errno::EAGAIN) => return gone as u32,
                Err(Errno::EINTR) => {}
                // Nobody reads any more.
                Err(_) => self.fd = None,
            }
        }
        if self.fd.is_none() {
            gone += self.queue.len();
            self.queue.clear();
        }
        // A terminal has no end of input, only a key for it.
        if self.ending && !self.terminal {
            self.fd = None;
        }
        gone as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::OFlag;
    use nix::unistd::{pipe2, read};

    #[test]
    fn a_full_pipe_takes_the_rest_later() {
        let (reader, writer) = pipe2(OFlag::O_NONBLOCK).unwrap();
        let mut input = Input::new(Some(writer), false);
        let data = vec![7; 200_000];
        let mut gone = input.push(&data) as usize;
        assert!(gone > 0 && gone < data.len());
        gone += input.push(&[]) as usize;
        let mut seen = 0;
        let mut buffer = [0; 4096];
        loop {
            match read(&reader, &mut buffer) {
                Ok(0) => break,
                Ok(n) => seen += n,
                Err(_) => gone += input.flush() as usize,
            }
        }
        assert_eq!((seen, gone), (data.len(), data.len()));
    }

    #[test]
    fn input_that_nobody_reads_is_dropped_and_counted() {
        let (reader, writer) = pipe2(OFlag::O_NONBLOCK).unwrap();
        drop(reader);
        let mut input = Input::new(Some(writer), false);
        assert_eq!(input.push(b"abc"), 3);
        assert!(input.waits_for().is_none());
    }
}
