//! The conversation with the agent of one container that writes the files
//! ([`stack_protocol::sync`]).

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};
use stack_protocol::sync::{
    self, Answer, FromGuest, Item, Kind, MAX_COMPARE, Outcome, Stamp, ToGuest,
};

use crate::tree;

/// Bytes sent at a time.
const PIECE: usize = 32 << 10;
/// Paths that a target may have.
const MAX_LISTED: usize = 4 << 20;

/// The streams of an exec session that runs the agent's tool.
pub trait Channel {
    /// Sends bytes to its standard input.
    ///
    /// # Errors
    /// It has ended.
    fn send(&mut self, bytes: Vec<u8>) -> impl Future<Output = io::Result<()>> + Send;

    /// The next bytes of its standard output, never none.
    ///
    /// # Errors
    /// It has ended: why.
    fn receive(&mut self) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// What is to be done in a batch.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where.
    pub path: String,
    /// What to be there; `None`: nothing.
    pub now: Option<Kind>,
    /// What this host wrote there last.
    pub expected: Option<Stamp>,
}

/// An open conversation.
#[derive(Debug)]
pub struct Conversation<C> {
    channel: C,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl<C: Channel> Conversation<C> {
    /// Begins one.
    pub fn new(channel: C) -> Conversation<C> {
        Conversation {
            channel,
            outgoing: Vec::new(),
            incoming: Vec::new(),
        }
    }

    /// All paths below the target, relative to it. What cannot be read, or is
    /// no text, is left out.
    ///
    /// # Errors
    /// The container has ended.
    pub async fn list(&mut self, target: &str) -> io::Result<Vec<String>> {
        self.begin(target).await?;
        self.say(&ToGuest::List).await?;
        self.flush().await?;
        let mut all = Vec::new();
        loop {
            let FromGuest::Listed { paths, last } = self.hear().await? else {
                return Err(other_answer());
            };
            all.extend(paths);
            if all.len() > MAX_LISTED {
                return Err(io::Error::other("the container has too many files"));
            }
            if last {
                return Ok(all);
            }
        }
    }

    /// Which items the container does not have as they are in `root`.
    ///
    /// # Errors
    /// The container has ended.
    pub async fn missing(
        &mut self,
        root: &Path,
        target: &str,
        items: Vec<Item>,
    ) -> io::Result<Vec<Item>> {
        self.begin(target).await?;
        let mut missing = Vec::new();
        for chunk in items.chunks(MAX_COMPARE / 2) {
            self.say(&ToGuest::Compare {
                items: chunk.to_vec(),
            })
            .await?;
            self.flush().await?;
            let FromGuest::Compared { answers } = self.hear().await? else {
                return Err(other_answer());
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
    pub async fn apply(
        &mut self,
        root: &Path,
        target: &str,
        steps: &mut [Step],
    ) -> io::Result<Outcome> {
        self.begin(target).await?;
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
            FromGuest::Compared { .. } | FromGuest::Listed { .. } => Err(other_answer()),
        }
    }

    async fn begin(&mut self, target: &str) -> io::Result<()> {
        let target = target.to_owned();
        self.say(&ToGuest::Begin { target }).await
    }

    async fn put(&mut self, root: &Path, step: &mut Step) -> io::Result<()> {
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
                *stamp = tree::stamp(&meta);
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
    async fn send_content(&mut self, mut file: std::fs::File, size: u64) -> io::Result<()> {
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

    async fn say(&mut self, message: &ToGuest) -> io::Result<()> {
        sync::write(&mut self.outgoing, message)?;
        match self.outgoing.len() >= PIECE {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let outgoing = std::mem::take(&mut self.outgoing);
        for piece in outgoing.chunks(PIECE) {
            self.channel.send(piece.to_vec()).await?;
        }
        Ok(())
    }

    async fn hear(&mut self) -> io::Result<FromGuest> {
        loop {
            if let Some(message) = self.message()? {
                return Ok(message);
            }
            let bytes = self.channel.receive().await?;
            self.incoming.extend(bytes);
        }
    }

    fn message(&mut self) -> io::Result<Option<FromGuest>> {
        let Some(length) = self.incoming.first_chunk::<4>() else {
            return Ok(None);
        };
        let whole = 4 + u32::from_le_bytes(*length) as usize;
        if whole - 4 <= sync::MAX_MESSAGE && self.incoming.len() < whole {
            return Ok(None);
        }
        let mut from = self.incoming.as_slice();
        let message = sync::read(&mut from)?;
        self.incoming.drain(..whole.min(self.incoming.len()));
        Ok(message)
    }
}

fn other_answer() -> io::Error {
    io::Error::other("the agent gave another answer")
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
