//! A command in a container whose output is collected.

use stack_api::request::ExecRequest;
use stack_protocol::frame::{Decoder, Frame, Kind};
use stack_protocol::message::Exit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::Client;
use crate::error::Error;

/// Output that is kept.
const MOST: usize = 64 << 10;

/// What a command said, and how it ended.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) text: String,
    pub(super) code: i32,
}

/// Runs it to its end.
///
/// # Errors
/// It cannot be started, or its container ended.
pub(super) async fn run(
    client: &Client,
    stack: &str,
    request: &ExecRequest,
) -> Result<Output, Error> {
    let lost = |error: std::io::Error| Error::Lost(error.to_string());
    let (mut io, _connection) = client.exec(stack, request).await?;
    // It has no input.
    let end = Frame::data(0, 0, Vec::new()).to_bytes();
    io.write_all(&end).await.map_err(lost)?;
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 32 << 10];
    let mut said = Vec::new();
    loop {
        let read = io.read(&mut buffer).await.map_err(lost)?;
        if read == 0 {
            return Err(Error::Lost("the container or its VM has ended".to_owned()));
        }
        decoder.push(&buffer[..read]);
        while let Some(frame) = decoder
            .next_frame()
            .map_err(|e| Error::Lost(e.to_string()))?
        {
            match frame.kind {
                Kind::Data if said.len() < MOST => said.extend_from_slice(&frame.payload),
                Kind::Data | Kind::Credit | Kind::Log => {}
                Kind::Control => {
                    let exit: Exit = serde_json::from_slice(&frame.payload)
                        .map_err(|error| Error::Lost(error.to_string()))?;
                    let mut text = String::from_utf8_lossy(&said).into_owned();
                    text.extend(exit.error);
                    return Ok(Output {
                        text,
                        code: exit.code,
                    });
                }
            }
        }
    }
}
