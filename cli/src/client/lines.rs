//! Answers that are one JSON value per line.

use std::marker::PhantomData;

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use stack_api::event::ApiError;
use tokio::task::JoinHandle;

use crate::error::Error;

/// Longest line that is taken, in bytes.
const MAX_LINE: usize = 16 << 20;

/// The task that moves a connection's bytes; dropping it closes the
/// connection.
#[derive(Debug)]
pub(crate) struct Connection(JoinHandle<()>);

impl Connection {
    pub(super) fn spawn<F>(connection: F) -> Connection
    where
        F: Future<Output = Result<(), hyper::Error>> + Send + 'static,
    {
        // What ends the connection is seen by whoever reads the answer.
        Connection(tokio::spawn(async move { drop(connection.await) }))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A stream of values.
#[derive(Debug)]
pub(crate) struct Lines<T> {
    body: Incoming,
    buffer: BytesMut,
    searched: usize,
    _connection: Connection,
    _items: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(super) fn new(body: Incoming, connection: Connection) -> Lines<T> {
        Lines {
            body,
            buffer: BytesMut::new(),
            searched: 0,
            _connection: connection,
            _items: PhantomData,
        }
    }

    /// The next value; `None` at the end. Cancel-safe: what has come stays
    /// in the buffer.
    ///
    /// # Errors
    /// The connection broke, or a line is not what it should be.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, Error> {
        self.next_or_idle(|| Ok(())).await
    }

    /// As [`next`](Self::next); `idle` is called before every wait.
    ///
    /// # Errors
    /// As [`next`](Self::next), and what `idle` gives.
    pub(crate) async fn next_or_idle(
        &mut self,
        mut idle: impl FnMut() -> Result<(), Error>,
    ) -> Result<Option<T>, Error> {
        loop {
            if let Some(at) = self.buffer[self.searched..]
                .iter()
                .position(|b| *b == b'\n')
            {
                let line = self.buffer.split_to(self.searched + at + 1);
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return parse(&line).map(Some);
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_LINE {
                return Err(Error::Lost("a line of the answer is too long".to_owned()));
            }
            idle()?;
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(Error::Lost(error.to_string())),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Error::Lost("the answer ends within a line".to_owned())),
            }
        }
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(line).map_err(|error| {
        ApiError::new(
            "unexpected_answer",
            format!("the answer of stackd makes no sense: {error}"),
        )
        .help("this command and stackd may be of different versions: see `stack version`")
        .into()
    })
}
