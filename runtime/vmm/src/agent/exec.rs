//! An exec session: bytes in, bytes out, and how it ended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use stack_protocol::frame::{Frame, WINDOW};
use stack_protocol::message::{Command, Exit};
use tokio::sync::{Semaphore, mpsc};

use super::{Agent, guard};

/// Largest piece of input in one frame.
const PIECE: usize = 16 << 10;

/// The guest has sent more than it had credit for.
#[derive(Debug)]
pub(super) struct Overrun;

/// The reading task's end of a session.
#[derive(Debug)]
pub(super) struct Mailbox {
    output: mpsc::UnboundedSender<(u32, Vec<u8>)>,
    /// Bytes in the queue, by stream (standard output first).
    queued: Arc<[AtomicUsize; 2]>,
    credit: Arc<Semaphore>,
    exit: Arc<Mutex<Option<Exit>>>,
}

impl Mailbox {
    /// The queue holds at most the windows of two streams: no more credit is
    /// given than was taken out.
    pub(super) fn output(&self, stream: u32, data: Vec<u8>) -> Result<(), Overrun> {
        let queued = match stream {
            1 | 2 => &self.queued[stream as usize - 1],
            _ => return Err(Overrun),
        };
        if data.is_empty() {
            return Ok(());
        }
        if queued.fetch_add(data.len(), Ordering::Relaxed) + data.len() > WINDOW as usize {
            return Err(Overrun);
        }
        let _ = self.output.send((stream, data));
        Ok(())
    }

    pub(super) fn credit(&self, bytes: u32) {
        grant(&self.credit, bytes);
    }

    pub(super) fn exited(&self, exit: Exit) {
        *guard(&self.exit) = Some(exit);
    }
}

impl Drop for Mailbox {
    /// No more credit will come: who waits for it must not wait for ever.
    fn drop(&mut self) {
        self.credit.close();
    }
}

/// Adds credit; never more than a window, whatever the guest says.
pub(super) fn grant(credit: &Semaphore, bytes: u32) {
    let room = (WINDOW as usize).saturating_sub(credit.available_permits());
    credit.add_permits(room.min(bytes as usize));
}

/// An exec session.
#[derive(Debug)]
pub struct ExecSession {
    /// Pieces of output: stream (1 or 2) and bytes; closed after the last.
    pub output: Output,
    input: Input,
    exit: Arc<Mutex<Option<Exit>>>,
}

/// The input of a session, or of the service. Cheap to clone: whoever writes
/// much does it in a task of its own, for the process may take no more
/// before its output is read.
#[derive(Debug, Clone)]
pub struct Input {
    agent: Agent,
    session: u32,
    credit: Arc<Semaphore>,
}

impl Input {
    /// Session 0 is the service.
    pub(super) fn new(agent: Agent, session: u32, credit: Arc<Semaphore>) -> Input {
        Input {
            agent,
            session,
            credit,
        }
    }

    /// Sends bytes, as fast as the process takes them; an empty piece is the
    /// end of the input. What a process that has ended does not take is
    /// dropped.
    pub async fn write(&self, data: Vec<u8>) {
        if data.is_empty() {
            let _ = self.agent.send(Frame::data(self.session, 0, data)).await;
            return;
        }
        for piece in data.chunks(PIECE) {
            let Ok(permits) = self.credit.acquire_many(piece.len() as u32).await else {
                return;
            };
            permits.forget();
            let _ = self
                .agent
                .send(Frame::data(self.session, 0, piece.to_vec()))
                .await;
        }
    }
}

impl Input {
    /// Its terminal has a new size.
    pub async fn resize(&self, rows: u16, columns: u16) {
        let session = self.session;
        let _ = self
            .agent
            .notify(Command::Resize {
                session,
                rows,
                columns,
            })
            .await;
    }

    /// Sends the process a signal.
    pub async fn signal(&self, signal: i32) {
        let _ = self
            .agent
            .notify(Command::Signal {
                session: self.session,
                signal,
            })
            .await;
    }
}

/// The output of a session.
#[derive(Debug)]
pub struct Output {
    agent: Agent,
    session: u32,
    queued: Arc<[AtomicUsize; 2]>,
    from: mpsc::UnboundedReceiver<(u32, Vec<u8>)>,
}

impl Output {
    /// The next piece; `None` after the last.
    pub async fn recv(&mut self) -> Option<(u32, Vec<u8>)> {
        let (stream, data) = self.from.recv().await?;
        self.queued[stream as usize - 1].fetch_sub(data.len(), Ordering::Relaxed);
        let credit = Frame::credit(self.session, stream, data.len() as u32);
        let _ = self.agent.send(credit).await;
        Some((stream, data))
    }
}

impl ExecSession {
    pub(super) fn new(agent: Agent, session: u32) -> (Mailbox, ExecSession) {
        let (output, from) = mpsc::unbounded_channel();
        let queued = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let credit = Arc::new(Semaphore::new(WINDOW as usize));
        let exit = Arc::new(Mutex::new(None));
        let mailbox = Mailbox {
            output,
            queued: Arc::clone(&queued),
            credit: Arc::clone(&credit),
            exit: Arc::clone(&exit),
        };
        let output = Output {
            agent: agent.clone(),
            session,
            queued,
            from,
        };
        let input = Input::new(agent, session, credit);
        (
            mailbox,
            ExecSession {
                output,
                input,
                exit,
            },
        )
    }

    /// How it ended; asked after the last output.
    pub async fn exit(&mut self) -> Exit {
        while self.output.recv().await.is_some() {}
        let cut = || Exit {
            code: 137,
            error: Some("the VM ended".to_owned()),
            ..Exit::default()
        };
        guard(&self.exit).take().unwrap_or_else(cut)
    }

    /// Its input, to be written from another task.
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// [`Input::write`].
    pub async fn write(&self, data: Vec<u8>) {
        self.input.write(data).await;
    }

    /// [`Input::resize`].
    pub async fn resize(&self, rows: u16, columns: u16) {
        self.input.resize(rows, columns).await;
    }

    /// [`Input::signal`].
    pub async fn signal(&self, signal: i32) {
        self.input.signal(signal).await;
    }
}
