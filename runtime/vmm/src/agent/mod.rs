//! The host's end of the conversation with the agent.

mod console;
mod exec;
mod link;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stack_protocol::config::Exec;
use stack_protocol::frame::{Frame, MAX_CONFIGURE, MAX_PAYLOAD, WINDOW};
use stack_protocol::log::Record;
use stack_protocol::message::{Command, Event, Exit, Health, Outcome, Request};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::Error;
use exec::Mailbox;
pub use exec::{ExecSession, Input, Output};

/// An agent that has not answered the first message by then is not there.
/// The first conversation is begun while the VM boots: its agent answers as
/// soon as it has opened the port. Not longer, because the guest hears of one
/// host's end and of the next one's first bytes by different queues: in a rare
/// order it takes the end for the next one's, and that one must begin again.
const HELLO_LIMIT: Duration = Duration::from_secs(3);

/// The conversation. Cheap to clone; it ends when all clones are gone.
#[derive(Debug, Clone)]
pub struct Agent {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outbox: mpsc::Sender<Frame>,
    /// The last log record that is stored; a later one takes the place of one
    /// that has not been told yet.
    stored: watch::Sender<u64>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Outcome>>>,
    sessions: Mutex<HashMap<u32, Mailbox>>,
    /// Credit for the service's standard input.
    service_input: Arc<Semaphore>,
    /// The stream has ended: no answer will come any more.
    closed: AtomicBool,
    /// The log has a word about a message that is none: a guest may send any
    /// number of them.
    puzzled: AtomicBool,
    next_id: AtomicU64,
    next_session: AtomicU32,
}

/// What the guest says unasked.
#[derive(Debug)]
pub enum AgentEvent {
    /// News.
    Event(Event),
    /// Output.
    Log(Record),
    /// The conversation was cut.
    Closed,
}

/// The guest's first answer.
#[derive(Debug)]
pub struct GuestHello {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// It has been configured.
    pub configured: bool,
    /// The service has ended.
    pub exit: Option<Exit>,
    /// The service's health.
    pub health: Health,
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agent {
    /// Begins a conversation; log records after `log_sequence` will come.
    ///
    /// # Errors
    /// The VM is not there or has not booted yet: try again.
    pub async fn connect(
        socket: &Path,
        log_sequence: u64,
    ) -> Result<(Agent, GuestHello, mpsc::Receiver<AgentEvent>), Error> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(Error::io("agent.sock"))?;
        let (outbox, from_us) = mpsc::channel(64);
        let (to_owner, events) = mpsc::channel(1024);
        let (stored, acknowledged) = watch::channel(log_sequence);
        let shared = Arc::new(Shared {
            outbox,
            stored,
            waiting: Mutex::default(),
            sessions: Mutex::default(),
            service_input: Arc::new(Semaphore::new(WINDOW as usize)),
            closed: AtomicBool::new(false),
            puzzled: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
            // Sessions of an earlier conversation may still run.
            next_session: AtomicU32::new(random_session()),
        });
        console::watch(socket, Arc::downgrade(&shared));
        let from_us = link::FromUs {
            frames: from_us,
            acknowledged,
        };
        link::spawn(stream, Arc::downgrade(&shared), from_us, to_owner);
        let agent = Agent { shared };
        let mut entropy = vec![0; 64];
        rustix::rand::getrandom(&mut entropy, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Error::io("random bytes")(error.into()))?;
        let hello = agent.request(Command::Hello {
            log_sequence,
            entropy,
        });
        match tokio::time::timeout(HELLO_LIMIT, hello).await {
            Ok(Ok(Outcome::Hello {
                version,
                boot_id,
                configured,
                exit,
                health,
            })) if version == stack_protocol::VERSION => Ok((
                agent,
                GuestHello {
                    boot_id,
                    configured,
                    exit,
                    health,
                },
                events,
            )),
            _ => Err(Error::Closed),
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The conversation was cut, or the message is too large for it.
    pub async fn request(&self, command: Command) -> Result<Outcome, Error> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let limit = match &command {
            Command::Configure(_) => MAX_CONFIGURE,
            _ => MAX_PAYLOAD,
        };
        let frame = Frame::control(&Request { id, command });
        if frame.payload.len() > limit {
            return Err(Error::TooLarge {
                bytes: frame.payload.len(),
                limit,
            });
        }
        let (answer, answered) = oneshot::channel();
        guard(&self.shared.waiting).insert(id, answer);
        // The end of the stream empties the table, once.
        if self.shared.closed.load(Ordering::SeqCst) {
            guard(&self.shared.waiting).remove(&id);
            return Err(Error::Closed);
        }
        self.send(frame).await?;
        answered.await.map_err(|_| Error::Closed)
    }

    /// Says something to which the answer does not matter.
    ///
    /// # Errors
    /// The conversation was cut.
    pub async fn notify(&self, command: Command) -> Result<(), Error> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        self.send(Frame::control(&Request { id, command })).await
    }

    /// The guest may forget log records up to this one. Told as soon as it
    /// reads; nobody waits for that.
    pub fn acknowledge(&self, sequence: u64) {
        self.shared.stored.send_if_modified(|stored| {
            let grown = sequence > *stored;
            *stored = sequence.max(*stored);
            grown
        });
    }

    async fn send(&self, frame: Frame) -> Result<(), Error> {
        self.shared
            .outbox
            .send(frame)
            .await
            .map_err(|_| Error::Closed)
    }

    /// The service's standard input, if it was configured to have one.
    pub fn service_input(&self) -> Input {
        Input::new(self.clone(), 0, Arc::clone(&self.shared.service_input))
    }

    /// Starts one more process beside the service.
    ///
    /// # Errors
    /// It cannot be started ([`Error::Guest`] with Docker's exit code), or
    /// the conversation was cut.
    pub async fn exec(&self, exec: Exec) -> Result<ExecSession, Error> {
        let session = self.shared.next_session.fetch_add(1, Ordering::Relaxed) & 0x0fff_ffff;
        let (mailbox, opened) = ExecSession::new(self.clone(), session);
        guard(&self.shared.sessions).insert(session, mailbox);
        let outcome = self
            .request(Command::Exec {
                session,
                exec: Box::new(exec),
            })
            .await;
        let refused = match outcome {
            Ok(Outcome::Error { message, code }) => Error::Guest { message, code },
            Ok(_) => return Ok(opened),
            Err(error) => error,
        };
        guard(&self.shared.sessions).remove(&session);
        Err(refused)
    }
}

fn random_session() -> u32 {
    let mut bytes = [0; 4];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    (u32::from_le_bytes(bytes) & 0x00ff_ffff) + 1
}
