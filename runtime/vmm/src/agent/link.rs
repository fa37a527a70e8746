//! The two tasks that move frames: one reads, one writes.
//!
//! The guest is not trusted: what it sends is bounded in every queue, and a
//! guest that breaks the protocol is hung up on.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use stack_protocol::frame::{Decoder, Frame, Kind, Preamble};
use stack_protocol::log::Record;
use stack_protocol::message::{Command, Event, FromGuest, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, watch};

use super::{AgentEvent, Shared, exec, guard};

/// What is said to the guest. It ends when all clones of the agent are gone.
pub(super) struct FromUs {
    /// In their order.
    pub(super) frames: mpsc::Receiver<Frame>,
    /// The last log record that is stored.
    pub(super) acknowledged: watch::Receiver<u64>,
}

impl FromUs {
    async fn next(&mut self) -> Option<Frame> {
        tokio::select! {
            frame = self.frames.recv() => frame,
            Ok(()) = self.acknowledged.changed() => {
                let sequence = *self.acknowledged.borrow_and_update();
                let command = Command::LogAck { sequence };
                Some(Frame::control(&Request { id: NO_ANSWER, command }))
            }
        }
    }
}

/// The id of a request whose answer does not matter; others begin at 1.
const NO_ANSWER: u64 = 0;

pub(super) fn spawn(
    stream: UnixStream,
    shared: Weak<Shared>,
    mut from_us: FromUs,
    to_owner: mpsc::Sender<AgentEvent>,
) {
    let (reader, mut writer) = stream.into_split();
    let mut nonce = [0; 8];
    let _ = rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty());
    let reading = tokio::spawn(async move {
        if let Err(why) = read(reader, nonce, &shared, &to_owner).await {
            tracing::warn!(why, "the guest broke the protocol");
        }
        if let Some(shared) = shared.upgrade() {
            shared.closed.store(true, Ordering::SeqCst);
            // Dropping the senders tells all who wait.
            guard(&shared.waiting).clear();
            guard(&shared.sessions).clear();
            shared.service_input.close();
        }
        let _ = to_owner.send(AgentEvent::Closed).await;
    });
    tokio::spawn(async move {
        let mut result = writer.write_all(&Preamble::bytes(nonce)).await;
        while result.is_ok()
            && let Some(frame) = from_us.next().await
        {
            result = writer.write_all(&frame.to_bytes()).await;
        }
        // All clones of the agent are gone, or the VM is. What the guest
        // said before its end is still read.
        if result.is_ok() {
            reading.abort();
        }
    });
}

/// Reads until the end of the stream; `Err` says what was wrong with it.
async fn read(
    mut reader: OwnedReadHalf,
    nonce: [u8; 8],
    shared: &Weak<Shared>,
    to_owner: &mpsc::Sender<AgentEvent>,
) -> Result<(), &'static str> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 64 << 10];
    let mut synchronised = false;
    loop {
        let read = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(read) => read,
        };
        decoder.push(&buffer[..read]);
        while !synchronised {
            match decoder.find_preamble() {
                Some(found) => synchronised = found == nonce,
                None => break,
            }
        }
        if !synchronised {
            continue;
        }
        while let Some(frame) = decoder.next_frame().map_err(|_| "a malformed frame")? {
            dispatch(frame, shared, to_owner).await?;
        }
    }
}

async fn dispatch(
    frame: Frame,
    shared: &Weak<Shared>,
    to_owner: &mpsc::Sender<AgentEvent>,
) -> Result<(), &'static str> {
    let Some(shared) = shared.upgrade() else {
        return Ok(());
    };
    let (session, stream) = (frame.channel / 4, frame.channel % 4);
    match frame.kind {
        Kind::Log => {
            let record = Record::decode(&frame.payload).ok_or("a malformed log record")?;
            let _ = to_owner.send(AgentEvent::Log(record)).await;
        }
        Kind::Data => {
            if let Some(mailbox) = guard(&shared.sessions).get(&session) {
                mailbox
                    .output(stream, frame.payload)
                    .map_err(|_| "more output than credit")?;
            }
        }
        Kind::Credit => {
            let bytes = frame
                .payload
                .as_slice()
                .try_into()
                .map_err(|_| "a malformed credit")?;
            let bytes = u32::from_le_bytes(bytes);
            if session == 0 {
                exec::grant(&shared.service_input, bytes);
            } else if let Some(mailbox) = guard(&shared.sessions).get(&session) {
                mailbox.credit(bytes);
            }
        }
        Kind::Control => match serde_json::from_slice(&frame.payload) {
            Ok(FromGuest::Reply(reply)) => {
                if let Some(waiting) = guard(&shared.waiting).remove(&reply.id) {
                    let _ = waiting.send(reply.outcome);
                }
            }
            Ok(FromGuest::Event(Event::ExecExited { session, exit })) => {
                if let Some(mailbox) = guard(&shared.sessions).remove(&session) {
                    mailbox.exited(exit);
                }
            }
            Ok(FromGuest::Event(event)) => {
                let _ = to_owner.send(AgentEvent::Event(event)).await;
            }
            Err(error) if shared.puzzled.swap(true, Ordering::Relaxed) => {
                tracing::debug!(%error, "a message from the guest that is none");
            }
            Err(error) => tracing::warn!(%error, "a message from the guest that is none"),
        },
    }
    Ok(())
}
