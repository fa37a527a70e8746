//! Tar streams from and to containers.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use stack_api::look::Archive;
use stack_archive::{Pack, Unpack};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::lines::Connection;
use super::{Client, checked, lost, query};
use crate::error::Error;

/// Pieces that may be on their way between a thread and the connection.
const PIECES: usize = 8;
/// Bytes of a piece.
const PIECE: usize = 64 << 10;

type Piece = io::Result<Bytes>;

/// A tar stream from a container.
pub(crate) struct Stream {
    body: Incoming,
    _connection: Connection,
}

impl Stream {
    /// The next piece.
    async fn next(&mut self) -> Option<Piece> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(io::Error::other(error))),
            }
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// It was cut off, or the writer fails.
    pub(crate) async fn copy_to(&mut self, to: &mut impl Write) -> Result<(), Error> {
        while let Some(piece) = self.next().await {
            let piece = piece.map_err(|error| Error::Lost(error.to_string()))?;
            to.write_all(&piece).map_err(Error::Output)?;
        }
        to.flush().map_err(Error::Output)
    }

    /// Unpacks it.
    ///
    /// # Errors
    /// It was cut off, or a file cannot be written.
    pub(crate) async fn unpack(mut self, order: Unpack) -> io::Result<()> {
        let (to, from) = mpsc::channel(PIECES);
        let work = tokio::task::spawn_blocking(move || {
            let mut stream = Pieces {
                from,
                piece: Bytes::new(),
            };
            stack_archive::unpack(&order, &mut stream)?;
            // What is behind the end of the archive.
            io::copy(&mut stream, &mut io::sink()).map(drop)
        });
        while let Some(piece) = self.next().await {
            if to.send(piece).await.is_err() {
                break;
            }
        }
        drop(to);
        work.await.map_err(io::Error::other)?
    }
}

/// The reading end of a channel of pieces, for a thread.
struct Pieces {
    from: mpsc::Receiver<Piece>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.from.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let taken = self.piece.split_to(buffer.len().min(self.piece.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// The writing end.
struct ToPieces(mpsc::Sender<Piece>);

impl Write for ToPieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        let piece = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(Ok(piece)).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Client {
    /// Files of a container as a tar stream.
    ///
    /// # Errors
    /// The daemon is not there, or there is no such file.
    pub(crate) async fn fetch_archive(
        &self,
        stack: &str,
        query: &Archive,
    ) -> Result<Stream, Error> {
        self.fetch_stream(&archive_of(stack, query)).await
    }

    /// A tar stream of the daemon's.
    ///
    /// # Errors
    /// The daemon is not there, or refuses.
    pub(crate) async fn fetch_stream(&self, path: &str) -> Result<Stream, Error> {
        let request = self.request::<()>(Method::GET, path, None)?;
        let (response, connection) = self.send(request).await?;
        Ok(Stream {
            body: checked(response).await?.into_body(),
            _connection: connection,
        })
    }

    /// Packs files of this machine and unpacks them in a container.
    ///
    /// # Errors
    /// A file cannot be read here or written there.
    pub(crate) async fn send_archive(
        &self,
        stack: &str,
        query: &Archive,
        order: Pack,
    ) -> Result<(), Error> {
        let path = order.path.clone();
        let packing = move |to: mpsc::Sender<Piece>| {
            let buffered = io::BufWriter::with_capacity(PIECE, ToPieces(to.clone()));
            let result = stack_archive::pack(&order, buffered);
            if let Err(error) = &result {
                let cut = io::Error::new(error.kind(), error.to_string());
                let _ = to.blocking_send(Err(cut));
            }
            result
        };
        self.put(archive_of(stack, query), packing, path).await
    }

    /// Unpacks a tar stream in a container: standard input, or a file that has it.
    ///
    /// # Errors
    /// It cannot be read, or a file cannot be written there.
    pub(crate) async fn send_stream(
        &self,
        stack: &str,
        query: &Archive,
        spool: Option<&File>,
    ) -> Result<(), Error> {
        let (uri, name) = (archive_of(stack, query), "standard input".into());
        let Some(spool) = spool else {
            return self.send_from(uri, || io::stdin().lock(), name).await;
        };
        let file = spool.try_clone().and_then(|mut file| {
            file.rewind()?;
            Ok(file)
        });
        let file = file.map_err(|source| Error::File {
            doing: "cannot read",
            path: "standard input".into(),
            source,
        })?;
        self.send_from(uri, || file, name).await
    }

    /// Sends the daemon a tar stream, which may be compressed here. `name` is for an error.
    ///
    /// # Errors
    /// It cannot be read, or a file cannot be written there.
    pub(crate) async fn send_from<R: Read>(
        &self,
        uri: String,
        open: impl FnOnce() -> R + Send + 'static,
        name: std::path::PathBuf,
    ) -> Result<(), Error> {
        let passing = move |to: mpsc::Sender<Piece>| {
            let mut buffered = io::BufWriter::with_capacity(PIECE, ToPieces(to));
            let plain = stack_images::plain(open());
            let sent = plain.and_then(|mut plain| io::copy(&mut plain, &mut buffered));
            sent.and_then(|_| buffered.flush()).inspect_err(|error| {
                let cut = io::Error::new(error.kind(), error.to_string());
                // Half a stream is none.
                let _ = buffered.get_ref().0.blocking_send(Err(cut));
            })
        };
        self.put(uri, passing, name).await
    }

    async fn put(
        &self,
        uri: String,
        work: impl FnOnce(mpsc::Sender<Piece>) -> io::Result<()> + Send + 'static,
        path: std::path::PathBuf,
    ) -> Result<(), Error> {
        let (to, mut from) = mpsc::channel(PIECES);
        let working = tokio::task::spawn_blocking(move || work(to));
        let pieces = futures_util::stream::poll_fn(move |context| from.poll_recv(context));
        let frames = futures_util::StreamExt::map(pieces, |piece| piece.map(Frame::data));
        let request = Request::builder()
            .method(Method::PUT)
            .uri(uri)
            .header(header::HOST, "stackd")
            .header(header::CONTENT_TYPE, "application/x-tar")
            .body(StreamBody::new(frames))
            .map_err(|error| Error::Lost(error.to_string()))?;
        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|source| Error::Unreachable {
                    socket: self.socket.clone(),
                    source,
                })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let _connection = Connection::spawn(connection);
        let sent = sender.send_request(request).await;
        let answered = match sent {
            Ok(response) => checked(response).await.map(drop),
            Err(error) => Err(lost(error)),
        };
        // What the daemon says is what happened; it hears nothing of files
        // that cannot be read here.
        let worked = match working.await {
            Ok(result) => result,
            Err(error) => Err(io::Error::other(error)),
        };
        match (worked, answered) {
            (Err(source), _) if source.kind() != io::ErrorKind::BrokenPipe => Err(Error::File {
                doing: "cannot read",
                path,
                source,
            }),
            (_, answered) => answered,
        }
    }
}

fn archive_of(stack: &str, query: &Archive) -> String {
    format!("/v1/stacks/{stack}/archive?{}", query::archive(query))
}
