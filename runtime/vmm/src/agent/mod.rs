//! The host's end of the conversation with the agent.

mod exec;
mod link;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stack_protocol::config::Exec;
use stack_protocol::frame::Frame;
use stack_protocol::log::Record;
use stack_protocol::message::{Command, Event, Exit, Health, Outcome, Request};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::Error;
pub use exec::{ExecSession, Input, Output};
use exec::Mailbox;

/// An agent that has not answered the first message by then is not there.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// The conversation. Cheap to clone; it ends when all clones are gone.
#[derive(Debug, Clone)]
pub struct Agent {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outbox: mpsc::Sender<Frame>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Outcome>>>,
    sessions: Mutex<HashMap<u32, Mailbox>>,
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
        let stream = UnixStream::connect(socket).await.map_err(Error::io("agent.sock"))?;
        let (outbox, from_us) = mpsc::channel(64);
        let (to_owner, events) = mpsc::channel(1024);
        let shared = Arc::new(Shared {
            outbox,
            waiting: Mutex::default(),
            sessions: Mutex::default(),
            next_id: AtomicU64::new(1),
            // Sessions of an earlier conversation may still run.
            next_session: AtomicU32::new(random_session()),
        });
        link::spawn(stream, Arc::downgrade(&shared), from_us, to_owner);
        let agent = Agent { shared };
        let hello = agent.request(Command::Hello { log_sequence });
        match tokio::time::timeout(HELLO_LIMIT, hello).await {
            Ok(Ok(Outcome::Hello { version, boot_id, configured, exit, health }))
                if version == stack_protocol::VERSION =>
            {
                Ok((agent, GuestHello { boot_id, configured, exit, health }, events))
            }
            _ => Err(Error::Closed),
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The conversation was cut.
    pub async fn request(&self, command: Command) -> Result<Outcome, Error> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        guard(&self.shared.waiting).insert(id, answer);
        self.send(Frame::control(&Request { id, command })).await?;
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

    async fn send(&self, frame: Frame) -> Result<(), Error> {
        self.shared.outbox.send(frame).await.map_err(|_| Error::Closed)
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
        match self.request(Command::Exec { session, exec: Box::new(exec) }).await? {
            Outcome::Error { message, code } => {
                guard(&self.shared.sessions).remove(&session);
                Err(Error::Guest { message, code })
            }
            _ => Ok(opened),
        }
    }
}

fn random_session() -> u32 {
    let mut bytes = [0; 4];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    (u32::from_le_bytes(bytes) & 0x00ff_ffff) + 1
}
