//! A socket of the host in the builder, for as long as a build runs: an SSH
//! agent's ([`stack_protocol::tunnel`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stack_api::event::ApiError;
use stack_protocol::config::{Builtin, Exec};
use stack_protocol::tunnel::{MAX_CONNECTIONS, MAX_PIECE, Piece};
use stack_vmm::Input;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::builder::Lease;
use super::shell::Running;

/// Pieces that wait for the host's side of one connection.
const QUEUE: usize = 64;

/// It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Forward(JoinHandle<()>);

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Forward {
    /// Puts `host` at `guest`, whose directory is there.
    ///
    /// # Errors
    /// The guest refuses.
    pub(super) async fn start(
        lease: &Lease,
        host: &Path,
        guest: &str,
    ) -> Result<Forward, ApiError> {
        let exec = Exec {
            builtin: Some(Builtin::Listen {
                path: guest.to_owned(),
            }),
            ..lease.exec(&[], &[])
        };
        let mut running = Running::start(lease, exec).await?;
        let mut arrived = Vec::new();
        let mut said = String::new();
        loop {
            match running.recv().await {
                Some((1, bytes)) => arrived.extend(bytes),
                Some((_, bytes)) => said += &String::from_utf8_lossy(&bytes),
                None => {
                    let exit = running.exit().await;
                    let why = exit.error.unwrap_or(said);
                    let host = host.display();
                    let what = format!("{host} does not get into the builder: {}", why.trim());
                    return Err(ApiError::new("builder", what));
                }
            }
            if let Ok(Some(_listening)) = Piece::take(&mut arrived) {
                break;
            }
        }
        let host = host.to_owned();
        Ok(Forward(tokio::spawn(serve(running, arrived, host))))
    }
}

/// Until the guest's side ends, or says something odd.
async fn serve(mut running: Running, mut arrived: Vec<u8>, host: PathBuf) {
    let mut open: BTreeMap<u32, mpsc::Sender<Vec<u8>>> = BTreeMap::new();
    loop {
        let piece = match Piece::take(&mut arrived) {
            Ok(Some(piece)) => piece,
            Ok(None) => match running.recv().await {
                Some((1, bytes)) => {
                    arrived.extend(bytes);
                    continue;
                }
                Some(_) => continue,
                None => return,
            },
            Err(_) => return,
        };
        open.retain(|_, to| !to.is_closed());
        let number = piece.connection;
        if piece.bytes.is_empty() {
            open.remove(&number);
            continue;
        }
        if !open.contains_key(&number) {
            if open.len() >= MAX_CONNECTIONS {
                return;
            }
            let (to, from) = mpsc::channel(QUEUE);
            let guest = Guest {
                input: running.input(),
                number,
            };
            tokio::spawn(connect(host.clone(), from, guest));
            open.insert(number, to);
        }
        if let Some(to) = open.get(&number) {
            // Whoever has gone takes nothing more.
            drop(to.send(piece.bytes).await);
        }
    }
}

/// The guest's end of a connection.
struct Guest {
    input: Input,
    number: u32,
}

impl Guest {
    async fn say(&self, bytes: Vec<u8>) {
        let connection = self.number;
        let piece = Piece { connection, bytes };
        self.input.write(piece.encode()).await;
    }
}

async fn connect(host: PathBuf, from: mpsc::Receiver<Vec<u8>>, guest: Guest) {
    match UnixStream::connect(&host).await {
        Ok(socket) => {
            let (mut reader, writer) = socket.into_split();
            let writing = tokio::spawn(write(writer, from));
            let mut buffer = vec![0; MAX_PIECE];
            while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                guest.say(buffer[..read].to_vec()).await;
            }
            writing.abort();
        }
        Err(error) => tracing::warn!(host = %host.display(), %error, "no connection"),
    }
    guest.say(Vec::new()).await;
}

async fn write(mut to: OwnedWriteHalf, mut from: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = from.recv().await {
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    drop(to.shutdown().await);
}
