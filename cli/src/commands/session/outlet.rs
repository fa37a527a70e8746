//! Our standard output and error, written by a thread: whoever reads them may
//! read nothing, and signals are passed on all the same.

use std::io::{self, Write};

use tokio::sync::{mpsc, oneshot};

use crate::error::Error;

/// The thread's ends.
pub(super) struct Outlet {
    to: mpsc::Sender<(bool, Vec<u8>)>,
    result: oneshot::Receiver<io::Result<()>>,
}

impl Outlet {
    /// Begins. Nobody waits for the thread when this process ends.
    pub(super) fn open() -> Outlet {
        let (to, from) = mpsc::channel(4);
        let (say, result) = oneshot::channel();
        std::thread::spawn(move || drop(say.send(write_all(from))));
        Outlet { to, result }
    }

    /// Has bytes written, to standard error or output.
    ///
    /// # Errors
    /// An earlier piece could not be.
    pub(super) async fn write(&mut self, is_error: bool, bytes: Vec<u8>) -> Result<(), Error> {
        match self.to.send((is_error, bytes)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Waits for a piece that cannot be written. Cancel-safe.
    pub(super) async fn failure(&mut self) -> Error {
        match ended(&mut self.result).await {
            Err(error) => error,
            // It ends only with what it gets.
            Ok(()) => std::future::pending().await,
        }
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// It could not be.
    pub(super) async fn close(mut self) -> Result<(), Error> {
        drop(self.to);
        ended(&mut self.result).await
    }
}

async fn ended(result: &mut oneshot::Receiver<io::Result<()>>) -> Result<(), Error> {
    match result.await {
        Ok(result) => result.map_err(Error::Output),
        Err(_) => Err(Error::Lost("the output was cut off".to_owned())),
    }
}

fn write_all(mut from: mpsc::Receiver<(bool, Vec<u8>)>) -> io::Result<()> {
    while let Some((is_error, bytes)) = from.blocking_recv() {
        match is_error {
            true => write(io::stderr().lock(), &bytes)?,
            false => write(io::stdout().lock(), &bytes)?,
        }
    }
    Ok(())
}

fn write(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}
