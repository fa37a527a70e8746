//! The conversation with the agent of one container that writes the files
//! ([`stack_protocol::sync`]).

use std::io;
use std::path::Path;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use stack_api::request::ExecRequest;
use stack_protocol::frame::{Decoder, Frame, Kind as FrameKind};
use stack_protocol::message::Exit;
use stack_protocol::sync::{
    self, Answer, FromGuest, Item, Kind, MAX_COMPARE, Outcome, Stamp, ToGuest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::Client;
use crate::error::Error;

/// Bytes in one frame.
const PIECE: usize = 32 << 10;

/// What is to be done in a batch.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Where.
    pub(super) path: String,
    /// What to be there; `None`: nothing.
    pub(super) now: Option<Kind>,
    /// What this host wrote there last.
    pub(super) expected: Option<Stamp>,
}

/// An open conversation. It ends when this is dropped.
pub(super) struct Session {
    io: TokioIo<Upgraded>,
    _connection: crate::client::Connection,
    decoder: Decoder,
    /// Messages are put together here.
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl Session {
    /// Begins one.
    ///
    /// # Errors
    /// The container does not run.
    pub(super) async fn open(
        client: &Client,
        stack: &str,
        service: &str,
        number: u32,
    ) -> Result<Session, Error> {
        let request = ExecRequest {
            service: service.to_owned(),
            index: Some(number),
            stdin: true,
            sync: true,
            ..ExecRequest::default()
        };
        let (io, connection) = client.exec(stack, &request).await?;
        Ok(Session {
            io,
            _connection: connection,
            decoder: Decoder::default(),
            outgoing: Vec::new(),
            incoming: Vec::new(),
        })
    }

    /// Which items the container does not have as they are in `root`.
    ///
    /// # Errors
    /// The container has ended.
    pub(super) async fn missing(
        &mut self,
        root: &Path,
        target: &str,
        items: Vec<Item>,
    ) -> Result<Vec<Item>, Error> {
        self.say(&ToGuest::Begin {
            target: target.to_owned(),
        })
        .await?;
        let mut missing = Vec::new();
        for chunk in items.chunks(MAX_COMPARE / 2) {
            self.say(&ToGuest::Compare {
                items: chunk.to_vec(),
            })
            .await?;
            self.flush().await?;
            let FromGuest::Compared { answers } = self.hear().await? else {
                return Err(Error::Lost("the agent gave another answer".to_owned()));
            };
            for (item, answer) in chunk.iter().zip(answers) {
                let same = match answer {
                    Answer::Same => true,
                    Answer::Differs => false,
                    Answer::Content { sha256 } => {
                        digest(&root.join(&item.path)).is_ok_and(|own| own == sha256)
                    }
                };
                if !same {
                    missing.push(item.clone());
                }
            }
        }
        Ok(missing)
    }

    /// Does a batch; the steps say afterwards what was really sent.
    ///
    /// # Errors
    /// The container has ended.
    pub(super) async fn apply(
        &mut self,
        root: &Path,
        target: &str,
        steps: &mut [Step],
    ) -> Result<Outcome, Error> {
        self.say(&ToGuest::Begin {
            target: target.to_owned(),
        })
        .await?;
        for step in steps {
            if step.now.is_some() {
                self.put(root, step).await?;
                continue;
            }
            self.say(&ToGuest::Remove {
                path: step.path.clone(),
                expected: step.expected,
            })
            .await?;
        }
        self.say(&ToGuest::Commit).await?;
        self.flush().await?;
        match self.hear().await? {
            FromGuest::Committed(outcome) => Ok(outcome),
            FromGuest::Compared { .. } => {
                Err(Error::Lost("the agent gave another answer".to_owned()))
            }
        }
    }

    async fn put(&mut self, root: &Path, step: &mut Step) -> Result<(), Error> {
        let mut file = None;
        if let Some(Kind::File { stamp, .. }) = &mut step.now {
            let path = match step.path.as_str() {
                "" => root.to_path_buf(),
                path => root.join(path),
            };
            // Gone again: another burst tells.
            let Ok(open) = std::fs::File::open(&path) else {
                step.now = None;
                return Ok(());
            };
            if let Ok(meta) = open.metadata() {
                *stamp = super::tree::stamp(&meta);
            }
            file = Some((open, stamp.size));
        }
        let Some(kind) = step.now.clone() else {
            return Ok(());
        };
        self.say(&ToGuest::Put {
            item: Item {
                path: step.path.clone(),
                kind,
            },
            expected: step.expected,
        })
        .await?;
        match file {
            Some((file, size)) => self.send_content(file, size).await,
            None => Ok(()),
        }
    }

    /// Exactly `size` bytes, whatever happens to the file: when it changes in
    /// between, another burst follows.
    async fn send_content(&mut self, mut file: std::fs::File, size: u64) -> Result<(), Error> {
        let mut left = size;
        let mut buffer = vec![0; PIECE];
        while left > 0 {
            let want = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            let read = match io::Read::read(&mut file, &mut buffer[..want]) {
                Ok(0) | Err(_) => {
                    buffer[..want].fill(0);
                    want
                }
                Ok(read) => read,
            };
            left -= read as u64;
            self.outgoing.extend_from_slice(&buffer[..read]);
            if self.outgoing.len() >= PIECE {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn say(&mut self, message: &ToGuest) -> Result<(), Error> {
        sync::write(&mut self.outgoing, message).map_err(|e| Error::Lost(e.to_string()))?;
        match self.outgoing.len() >= PIECE {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let outgoing = std::mem::take(&mut self.outgoing);
        for piece in outgoing.chunks(PIECE) {
            let frame = Frame::data(0, 0, piece.to_vec()).to_bytes();
            self.io.write_all(&frame).await.map_err(lost)?;
        }
        Ok(())
    }

    async fn hear(&mut self) -> Result<FromGuest, Error> {
        let mut buffer = vec![0; PIECE];
        let mut said = String::new();
        loop {
            if let Some(message) = self.message()? {
                return Ok(message);
            }
            let read = self.io.read(&mut buffer).await.map_err(lost)?;
            if read == 0 {
                return Err(Error::Lost("the container or its VM has ended".to_owned()));
            }
            self.decoder.push(&buffer[..read]);
            while let Some(frame) = self
                .decoder
                .next_frame()
                .map_err(|e| Error::Lost(e.to_string()))?
            {
                match (frame.kind, frame.channel % 4) {
                    (FrameKind::Data, 1) => self.incoming.extend_from_slice(&frame.payload),
                    (FrameKind::Data, _) => said += &String::from_utf8_lossy(&frame.payload),
                    (FrameKind::Control, _) => {
                        let exit: Exit = serde_json::from_slice(&frame.payload).unwrap_or_default();
                        let why = exit.error.unwrap_or(said);
                        return Err(Error::Lost(format!("the agent stopped: {}", why.trim())));
                    }
                    (FrameKind::Credit | FrameKind::Log, _) => {}
                }
            }
        }
    }

    fn message(&mut self) -> Result<Option<FromGuest>, Error> {
        let Some(length) = self.incoming.first_chunk::<4>() else {
            return Ok(None);
        };
        let whole = 4 + u32::from_le_bytes(*length) as usize;
        if whole - 4 <= sync::MAX_MESSAGE && self.incoming.len() < whole {
            return Ok(None);
        }
        let mut from = self.incoming.as_slice();
        let message = sync::read(&mut from).map_err(|e| Error::Lost(e.to_string()))?;
        self.incoming.drain(..whole.min(self.incoming.len()));
        Ok(message)
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn lost(error: io::Error) -> Error {
    Error::Lost(error.to_string())
}
