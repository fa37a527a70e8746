//! The conversation with the agent of one container, over the daemon.

use std::io;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use stack_api::request::ExecRequest;
use stack_protocol::frame::{Decoder, Frame, Kind as FrameKind};
use stack_protocol::message::Exit;
use stack_sync::{Channel, Conversation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::Client;
use crate::error::Error;

/// An open conversation. It ends when this is dropped.
pub(super) type Session = Conversation<Stream>;

/// The upgraded connection of an exec call.
pub(super) struct Stream {
    io: TokioIo<Upgraded>,
    _connection: crate::client::Connection,
    decoder: Decoder,
    /// What the tool said on standard error.
    said: String,
}

/// Begins a conversation; with `at_rest` also with a container that does not run.
///
/// # Errors
/// The container does not run.
pub(super) async fn open(
    client: &Client,
    stack: &str,
    service: &str,
    number: u32,
    at_rest: bool,
) -> Result<Session, Error> {
    let request = ExecRequest {
        service: service.to_owned(),
        index: Some(number),
        stdin: true,
        sync: true,
        at_rest,
        ..ExecRequest::default()
    };
    let (io, connection) = client.exec(stack, &request).await?;
    Ok(Conversation::new(Stream {
        io,
        _connection: connection,
        decoder: Decoder::default(),
        said: String::new(),
    }))
}

impl Channel for Stream {
    async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.io
            .write_all(&Frame::data(0, 0, bytes).to_bytes())
            .await
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 32 << 10];
        loop {
            while let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                match (frame.kind, frame.channel % 4) {
                    (FrameKind::Data, 1) => return Ok(frame.payload),
                    (FrameKind::Data, _) => self.said += &String::from_utf8_lossy(&frame.payload),
                    (FrameKind::Control, _) => {
                        let exit: Exit = serde_json::from_slice(&frame.payload).unwrap_or_default();
                        let why = exit.error.unwrap_or(std::mem::take(&mut self.said));
                        return Err(io::Error::other(format!(
                            "the agent stopped: {}",
                            why.trim()
                        )));
                    }
                    (FrameKind::Credit | FrameKind::Log, _) => {}
                }
            }
            let read = self.io.read(&mut buffer).await?;
            if read == 0 {
                return Err(io::Error::other("the container or its VM has ended"));
            }
            self.decoder.push(&buffer[..read]);
        }
    }
}

pub(super) fn lost(error: io::Error) -> Error {
    Error::Lost(error.to_string())
}
