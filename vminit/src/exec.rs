//! An exec session: a process beside the service whose streams are the
//! host's, under credit in both directions.

use std::time::{Duration, Instant};

use stack_protocol::frame::WINDOW;
use stack_protocol::message::Exit;

use crate::process::Process;

/// Largest piece of output in one frame.
const PIECE: usize = 32 << 10;
/// What the process left behind may hold its output open for that long.
const LINGER: Duration = Duration::from_millis(200);

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    /// The process.
    pub process: Process,
    /// The request that started it, until it is answered.
    pub request: Option<u64>,
    credit: [usize; 2],
    ended: Option<(Exit, Instant)>,
}

impl Session {
    /// A session whose start has not been reported yet.
    pub(crate) fn new(process: Process, request: u64) -> Session {
        Session {
            process,
            request: Some(request),
            credit: [WINDOW as usize; 2],
            ended: None,
        }
    }

    /// Which outputs may be read now.
    pub(crate) fn reading(&self) -> [bool; 2] {
        self.credit
            .map(|credit| credit > 0 && self.request.is_none())
    }

    /// The host takes more of output `n`.
    pub(crate) fn grant(&mut self, n: usize, bytes: u32) {
        self.credit[n] = self.credit[n]
            .saturating_add(bytes as usize)
            .min(WINDOW as usize);
    }

    /// Reads output `n`; `None`: nothing now or no credit. Empty: the end.
    pub(crate) fn read(&mut self, n: usize) -> Option<Vec<u8>> {
        let limit = PIECE.min(self.credit[n]);
        if limit == 0 {
            return None;
        }
        let data = self.process.read(n, limit)?;
        self.credit[n] -= data.len();
        Some(data)
    }

    /// The process has ended.
    pub(crate) fn ended(&mut self, exit: Exit) {
        self.ended = Some((exit, Instant::now()));
    }

    /// The process has ended, whatever becomes of its output.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// How it ended, once its output has been read.
    pub(crate) fn result(&self) -> Option<&Exit> {
        let (exit, at) = self.ended.as_ref()?;
        let done =
            self.process.is_silent() || (at.elapsed() >= LINGER && !self.process.has_unread());
        (self.request.is_none() && done).then_some(exit)
    }

    /// When to ask for the [`result`](Self::result) again, if nothing happens before:
    /// what is left to read is read when it may be, whenever that is.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let (_, at) = self.ended.as_ref()?;
        let waits = self.request.is_some() || self.process.has_unread();
        (!waits).then(|| *at + LINGER)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;
    use crate::input::Input;

    #[test]
    fn what_may_not_be_read_yet_is_waited_for_without_a_deadline() {
        let (output, kept) = std::io::pipe().unwrap();
        let report = File::open("/dev/null").unwrap();
        let process = Process::new(
            1,
            report,
            Input::new(None, false),
            [Some(output.into()), None],
        );
        let mut session = Session::new(process, 1);
        session.request = None;
        session.credit[0] = 0;
        session.ended(Exit::default());
        // Something that it has left behind holds the pipe.
        assert!(session.deadline().is_some());
        (&kept).write_all(b"last words").unwrap();
        assert!(session.deadline().is_none() && session.result().is_none());
        session.grant(0, 100);
        assert_eq!(session.read(0).unwrap(), b"last words");
        std::thread::sleep(LINGER);
        assert!(session.deadline().is_some_and(|at| at <= Instant::now()));
        assert!(session.result().is_some());
    }
}
