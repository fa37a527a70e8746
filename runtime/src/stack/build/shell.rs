//! Commands in the builder.

use std::io;

use stack_api::event::ApiError;
use stack_protocol::config::{Builtin, Exec};
use stack_protocol::message::Exit;
use stack_sync::{Channel, Conversation};
use stack_vmm::{ExecSession, Input};

use super::builder::Lease;
use crate::container::vm_error;
use crate::progress::Progress;

/// Longest line of output; what is longer is cut into several.
const LONGEST: usize = 16 << 10;
/// Bytes of output that a command may have whose output is read whole.
const MAX_ANSWER: usize = 16 << 20;

/// A process in the builder. It is killed when this is dropped before it has
/// ended: nobody waits for it any more.
pub(super) struct Running {
    session: ExecSession,
    input: Input,
    ended: bool,
}

impl Running {
    pub(super) async fn start(lease: &Lease, exec: Exec) -> Result<Running, ApiError> {
        let session = lease.agent.exec(exec).await.map_err(vm_error)?;
        Ok(Running {
            input: session.input(),
            session,
            ended: false,
        })
    }

    /// Its standard input, to be written from another task.
    pub(super) fn input(&self) -> Input {
        self.input.clone()
    }

    /// The next piece of output: stream (1 or 2) and bytes.
    pub(super) async fn recv(&mut self) -> Option<(u32, Vec<u8>)> {
        self.session.output.recv().await
    }

    /// How it ended.
    pub(super) async fn exit(&mut self) -> Exit {
        let exit = self.session.exit().await;
        self.ended = true;
        exit
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let input = self.input.clone();
            tokio::spawn(async move { input.signal(libc::SIGKILL).await });
        }
    }
}

/// Runs a command to its end, without input; `line` gets its output, as fast as
/// the client takes it.
pub(super) async fn run(
    lease: &Lease,
    (args, env): (&[String], &[String]),
    progress: &Progress,
    mut line: impl FnMut(&str),
) -> Result<Exit, ApiError> {
    let mut running = Running::start(lease, lease.exec(args, env)).await?;
    running.input.write(Vec::new()).await;
    // Standard output and error, each cut into lines.
    let mut rests = [Vec::new(), Vec::new()];
    while let Some((stream, bytes)) = running.recv().await {
        let rest: &mut Vec<u8> = &mut rests[usize::from(stream != 1)];
        rest.extend(bytes);
        while let Some(end) = rest.iter().position(|b| *b == b'\n' || *b == b'\r') {
            let whole: Vec<u8> = rest.drain(..=end).collect();
            say(&whole[..end], &mut line);
        }
        while rest.len() > LONGEST {
            let part: Vec<u8> = rest.drain(..LONGEST).collect();
            say(&part, &mut line);
        }
        progress.room().await;
    }
    for rest in rests {
        say(&rest, &mut line);
    }
    Ok(running.exit().await)
}

fn say(bytes: &[u8], line: &mut impl FnMut(&str)) {
    let text = String::from_utf8_lossy(bytes);
    if !text.trim().is_empty() {
        line(text.trim_end());
    }
}

/// Runs a command and gives what it wrote to standard output.
pub(super) async fn answer(
    lease: &Lease,
    args: &[&str],
    input: Option<Vec<u8>>,
) -> Result<Vec<u8>, ApiError> {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let mut running = Running::start(lease, lease.exec(&args, &[])).await?;
    let to = running.input.clone();
    let feed = async move {
        if let Some(bytes) = input.filter(|bytes| !bytes.is_empty()) {
            to.write(bytes).await;
        }
        to.write(Vec::new()).await;
    };
    let read = async {
        let (mut out, mut said) = (Vec::new(), String::new());
        while let Some((stream, bytes)) = running.recv().await {
            match stream {
                1 => out.extend(bytes),
                _ => said += &String::from_utf8_lossy(&bytes),
            }
            if out.len() + said.len() > MAX_ANSWER {
                said = "it says too much".to_owned();
                return (
                    out,
                    said,
                    Exit {
                        code: 1,
                        ..Exit::default()
                    },
                );
            }
        }
        (out, said, running.exit().await)
    };
    let ((), (out, said, exit)) = futures_util::join!(feed, read);
    if exit.code == 0 {
        return Ok(out);
    }
    let why = exit.error.unwrap_or(said);
    Err(ApiError::new(
        "builder",
        format!("{} failed in the builder: {}", args[0], why.trim()),
    ))
}

/// Writes a file that only root can read, with its directories.
pub(super) async fn write_file(
    lease: &Lease,
    path: &str,
    content: Vec<u8>,
) -> Result<(), ApiError> {
    let script = "umask 077; mkdir -p \"${1%/*}\" && cat > \"$1\"";
    answer(lease, &["sh", "-c", script, "sh", path], Some(content))
        .await
        .map(drop)
}

/// The agent's tool that writes files, for contexts: they are to be the same.
pub(super) async fn sync(lease: &Lease) -> Result<Conversation<Running>, ApiError> {
    let exec = Exec {
        builtin: Some(Builtin::Sync),
        ..lease.exec(&[], &[])
    };
    Ok(Conversation::new(Running::start(lease, exec).await?).exact())
}

impl Channel for Running {
    async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.input.write(bytes).await;
        Ok(())
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut said = String::new();
        while let Some((stream, bytes)) = self.recv().await {
            match stream {
                1 => return Ok(bytes),
                _ => said += &String::from_utf8_lossy(&bytes),
            }
        }
        let exit = self.exit().await;
        let why = exit.error.unwrap_or(said);
        Err(io::Error::other(format!(
            "the agent stopped: {}",
            why.trim()
        )))
    }
}
