//! The two tasks that move frames: one reads, one writes.

use std::sync::Weak;

use stack_protocol::frame::{Decoder, Frame, Kind, Preamble};
use stack_protocol::log::Record;
use stack_protocol::message::{Event, FromGuest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;

use super::{AgentEvent, Shared, guard};

pub(super) fn spawn(
    stream: UnixStream,
    shared: Weak<Shared>,
    mut from_us: mpsc::Receiver<Frame>,
    to_owner: mpsc::Sender<AgentEvent>,
) {
    let (reader, mut writer) = stream.into_split();
    let mut nonce = [0; 8];
    let _ = rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty());
    let reading = tokio::spawn(async move {
        read(reader, nonce, &shared, &to_owner).await;
        if let Some(shared) = shared.upgrade() {
            // Dropping the senders tells all who wait.
            guard(&shared.waiting).clear();
            guard(&shared.sessions).clear();
        }
        let _ = to_owner.send(AgentEvent::Closed).await;
    });
    tokio::spawn(async move {
        let mut result = writer.write_all(&Preamble::bytes(nonce)).await;
        while result.is_ok()
            && let Some(frame) = from_us.recv().await
        {
            result = writer.write_all(&frame.to_bytes()).await;
        }
        // All clones of the agent are gone, or the VM is.
        reading.abort();
    });
}

async fn read(
    mut reader: OwnedReadHalf,
    nonce: [u8; 8],
    shared: &Weak<Shared>,
    to_owner: &mpsc::Sender<AgentEvent>,
) {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 64 << 10];
    let mut synchronised = false;
    loop {
        let read = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
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
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => dispatch(frame, shared, to_owner).await,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "guest");
                    return;
                }
            }
        }
    }
}

async fn dispatch(frame: Frame, shared: &Weak<Shared>, to_owner: &mpsc::Sender<AgentEvent>) {
    let Some(shared) = shared.upgrade() else { return };
    let (session, stream) = (frame.channel / 4, frame.channel % 4);
    match frame.kind {
        Kind::Log => {
            if let Some(record) = Record::decode(&frame.payload) {
                let _ = to_owner.send(AgentEvent::Log(record)).await;
            }
        }
        Kind::Data => {
            if let Some(mailbox) = guard(&shared.sessions).get(&session) {
                mailbox.output(stream, frame.payload);
            }
        }
        Kind::Credit => {
            if let (Some(mailbox), Ok(bytes)) =
                (guard(&shared.sessions).get(&session), frame.payload.as_slice().try_into())
            {
                mailbox.credit(u32::from_le_bytes(bytes));
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
            Err(error) => tracing::warn!(%error, "a message from the guest that is none"),
        },
    }
}
