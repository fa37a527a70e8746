//! The conversation of `stack exec`, `run` and `attach` with a process: frames
//! in both directions over the upgraded connection.

mod allowance;
mod keys;
mod outlet;
mod tty;

use std::io::{self, Read};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use stack_api::request::ExecInput;
use stack_api::run::End;
use stack_protocol::frame::{Decoder, Frame, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::{exit, terminal};
use allowance::{Allowance, Granted};
pub(super) use keys::Keys;
use outlet::Outlet;
pub(super) use tty::Terminal;

/// Bytes that are read at once.
const CHUNK: usize = 32 << 10;

type Io = TokioIo<Upgraded>;

/// How a conversation is held.
#[derive(Debug, Clone, Default)]
pub(super) struct Manner {
    /// The process has a terminal, ours is its.
    pub(super) tty: bool,
    /// Our standard input stays ours.
    pub(super) no_stdin: bool,
    /// Keys that end the conversation and leave the process alone.
    pub(super) detach: Option<Keys>,
    /// Signals to us are passed on, not followed.
    pub(super) pass_signals: bool,
}

/// How our side of a conversation ended.
enum Left {
    /// The detach keys were pressed.
    Detached,
    /// The connection broke.
    Broke(Error),
}

/// Connects this process's standard streams with the other one's; gives its
/// exit code.
///
/// # Errors
/// The connection broke.
pub(super) async fn run(io: Io, manner: &Manner) -> Result<u8, Error> {
    let (reader, writer) = tokio::io::split(io);
    // Restored when this function ends, however it ends.
    let raw = if manner.tty {
        Some(terminal::Raw::enter().map_err(lost)?)
    } else {
        None
    };
    let granted = Granted::new(None);
    let result = tokio::select! {
        result = output(reader, &granted) => result,
        left = input(writer, manner, Allowance::new(&granted)) => match left {
            Left::Detached => {
                drop(raw);
                crate::ui::say("read escape sequence");
                return Ok(exit::OK);
            }
            Left::Broke(error) => Err(error),
        },
        // In raw mode Ctrl-C is a byte, but anyone may send a signal: the
        // terminal must be as before when this process ends.
        code = killed(), if manner.tty && !manner.pass_signals => Ok(code),
    };
    drop(raw);
    result
}

/// Writes what comes to our standard streams, until the exit comes.
async fn output(mut reader: ReadHalf<Io>, granted: &Granted) -> Result<u8, Error> {
    let mut outlet = Outlet::open();
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = reader.read(&mut buffer) => read.map_err(lost)?,
            error = outlet.failure() => return Err(error),
        };
        if read == 0 {
            return Err(Error::Lost("the container or its VM has ended".to_owned()));
        }
        decoder.push(&buffer[..read]);
        while let Some(frame) = decoder
            .next_frame()
            .map_err(|e| Error::Lost(e.to_string()))?
        {
            match (frame.kind, frame.channel % 4) {
                (Kind::Data, stream) => outlet.write(stream == 2, frame.payload).await?,
                (Kind::Control, _) => {
                    let end: End = serde_json::from_slice(&frame.payload)
                        .map_err(|error| Error::Lost(error.to_string()))?;
                    outlet.close().await?;
                    return ended(&end);
                }
                (Kind::Credit, _) => allowance::grant(granted, &frame.payload),
                (Kind::Log, _) => {}
            }
        }
    }
}

fn ended(end: &End) -> Result<u8, Error> {
    if let Some(why) = &end.error {
        let code = end.error_code.as_deref().unwrap_or("exec_failed");
        let mut error = stack_api::event::ApiError::new(code, why.clone());
        // What could not be done is no success, whoever says that it ended with 0.
        error.exit_code = if end.code == 0 { 1 } else { end.code };
        return Err(error.into());
    }
    Ok(exit::clamp(end.code))
}

/// Sends what is read from standard input, sizes of the terminal, and
/// signals, which do not wait for a process that takes no input. Ends only
/// when the connection does, or with the detach keys.
async fn input(mut writer: WriteHalf<Io>, manner: &Manner, mut allowance: Allowance) -> Left {
    let mut stdin = if manner.no_stdin {
        None
    } else {
        Some(read_stdin())
    };
    let mut resized = match signal(SignalKind::window_change()) {
        Ok(resized) => resized,
        Err(error) => return Left::Broke(lost(error)),
    };
    let mut signals = match Signals::take(manner.pass_signals) {
        Ok(signals) => signals,
        Err(error) => return Left::Broke(lost(error)),
    };
    let mut detach = manner.detach.clone();
    // What was read, and may not be sent yet.
    let mut waiting: Option<Vec<u8>> = None;
    loop {
        let length = waiting.as_ref().map_or(0, Vec::len);
        let read = async {
            match &mut stdin {
                Some(stdin) => stdin.recv().await,
                None => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            bytes = read, if waiting.is_none() => {
                let Some(bytes) = bytes else {
                    // No bytes are the end of file.
                    stdin = None;
                    waiting = Some(Vec::new());
                    continue;
                };
                waiting = match &mut detach {
                    None => Some(bytes),
                    Some(keys) => match keys.filter(&bytes) {
                        Some(rest) => Some(rest).filter(|rest| !rest.is_empty()),
                        None => return Left::Detached,
                    },
                };
                continue;
            }
            () = allowance.room(length), if waiting.is_some() => {
                allowance.take(length);
                Frame::data(0, 0, waiting.take().unwrap_or_default())
            }
            _ = resized.recv(), if manner.tty => match terminal::size() {
                Some((rows, columns)) => Frame::control(&ExecInput::Resize { rows, columns }),
                None => continue,
            },
            signal = signals.next() => Frame::control(&ExecInput::Signal { signal }),
        };
        // The reading side sees why the connection broke, or how it ended.
        if writer.write_all(&frame.to_bytes()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Signals that are passed on.
struct Signals(Vec<(i32, tokio::signal::unix::Signal)>);

impl Signals {
    fn take(wanted: bool) -> io::Result<Signals> {
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        let kinds: &[SignalKind] = if wanted { &kinds } else { &[] };
        let taken = kinds
            .iter()
            .map(|kind| Ok((kind.as_raw_value(), signal(*kind)?)));
        taken.collect::<io::Result<_>>().map(Signals)
    }

    async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
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
