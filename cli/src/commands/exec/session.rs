//! The conversation of `stack exec` with its process: frames in both
//! directions over the upgraded connection.

use std::io::{self, Read, Write};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use stack_api::request::ExecInput;
use stack_protocol::frame::{Decoder, Frame, Kind};
use stack_protocol::message::Exit;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::{exit, terminal};

/// Bytes that are read at once.
const CHUNK: usize = 32 << 10;

type Io = TokioIo<Upgraded>;

/// Connects this process's standard streams with the other one's; gives its
/// exit code.
///
/// # Errors
/// The connection broke.
pub(super) async fn run(io: Io, tty: bool) -> Result<u8, Error> {
    let (reader, writer) = tokio::io::split(io);
    // Restored when this function ends, however it ends.
    let raw = if tty {
        Some(terminal::Raw::enter().map_err(lost)?)
    } else {
        None
    };
    let result = tokio::select! {
        result = output(reader) => result,
        result = input(writer, tty) => Err(result),
        // In raw mode Ctrl-C is a byte, but anyone may send a signal: the
        // terminal must be as before when this process ends.
        code = killed(), if tty => Ok(code),
    };
    drop(raw);
    result
}

/// Writes what comes to our standard streams, until the exit comes.
async fn output(mut reader: ReadHalf<Io>) -> Result<u8, Error> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = reader.read(&mut buffer).await.map_err(lost)?;
        if read == 0 {
            return Err(Error::Lost("the container or its VM has ended".to_owned()));
        }
        decoder.push(&buffer[..read]);
        while let Some(frame) = decoder
            .next_frame()
            .map_err(|e| Error::Lost(e.to_string()))?
        {
            match (frame.kind, frame.channel % 4) {
                (Kind::Data, 2) => write(io::stderr().lock(), &frame.payload)?,
                (Kind::Data, _) => write(io::stdout().lock(), &frame.payload)?,
                (Kind::Control, _) => {
                    let end: Exit = serde_json::from_slice(&frame.payload)
                        .map_err(|error| Error::Lost(error.to_string()))?;
                    return ended(&end);
                }
                (Kind::Credit | Kind::Log, _) => {}
            }
        }
    }
}

fn write(mut to: impl Write, bytes: &[u8]) -> Result<(), Error> {
    to.write_all(bytes)
        .and_then(|()| to.flush())
        .map_err(Error::Output)
}

fn ended(end: &Exit) -> Result<u8, Error> {
    if let Some(why) = &end.error {
        let mut error = stack_api::event::ApiError::new("exec_failed", why.clone());
        error.exit_code = end.code;
        return Err(error.into());
    }
    Ok(exit::clamp(end.code))
}

/// Sends what is read from standard input, and sizes of the terminal. Ends
/// only when the connection does.
async fn input(mut writer: WriteHalf<Io>, tty: bool) -> Error {
    let mut stdin = read_stdin();
    let mut resized = match signal(SignalKind::window_change()) {
        Ok(resized) => resized,
        Err(error) => return lost(error),
    };
    let mut open = true;
    loop {
        let frame = tokio::select! {
            bytes = stdin.recv(), if open => {
                // No bytes are the end of file.
                open = bytes.is_some();
                Frame::data(0, 0, bytes.unwrap_or_default())
            }
            _ = resized.recv(), if tty => match terminal::size() {
                Some((rows, columns)) => Frame::control(&ExecInput::Resize { rows, columns }),
                None => continue,
            },
            else => std::future::pending().await,
        };
        // The reading side sees why the connection broke, or how it ended.
        if writer.write_all(&frame.to_bytes()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Standard input, read by a thread: it may block for ever, which must not
/// keep this process alive.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (to, from) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) if to.blocking_send(buffer[..n].to_vec()).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    });
    from
}

/// Waits for a signal that ends us; gives the exit code a shell would show.
async fn killed() -> u8 {
    let wait = async |kind: SignalKind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => 143,
        () = wait(SignalKind::hangup()) => 129,
        () = wait(SignalKind::quit()) => 131,
        () = wait(SignalKind::interrupt()) => exit::INTERRUPTED,
    }
}

fn lost(error: io::Error) -> Error {
    Error::Lost(error.to_string())
}
