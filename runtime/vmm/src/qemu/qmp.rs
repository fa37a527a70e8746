//! QEMU's machine protocol (QMP): JSON lines over a unix socket
//! (`docs/interop/qmp-spec.rst` of QEMU). Only what is needed: commands
//! one after the other, and waiting for an event.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// Longest line that is read; no answer to a command used here is near it.
const LINE: usize = 1 << 20;

/// A conversation with the monitor.
#[derive(Debug)]
pub(super) struct Qmp {
    stream: BufReader<UnixStream>,
    events: VecDeque<String>,
}

impl Qmp {
    /// Waits until the monitor has answered. It says hello from a thread of
    /// its own, but answers from QEMU's main loop: by then all devices are
    /// there.
    pub(super) async fn wait_for(socket: &Path) -> Qmp {
        loop {
            match Qmp::connect(socket).await {
                Ok(qmp) => return qmp,
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    /// # Errors
    /// There is no monitor, or it says nothing sensible.
    pub(super) async fn connect(socket: &Path) -> io::Result<Qmp> {
        let mut qmp = Qmp {
            stream: BufReader::new(UnixStream::connect(socket).await?),
            events: VecDeque::new(),
        };
        qmp.line().await?;
        qmp.command("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Runs a command.
    ///
    /// # Errors
    /// QEMU's own words, or the end of the conversation.
    pub(super) async fn command(&mut self, name: &str, arguments: Value) -> io::Result<Value> {
        let mut text = json!({"execute": name, "arguments": arguments}).to_string();
        text.push('\n');
        self.stream.write_all(text.as_bytes()).await?;
        loop {
            let mut answer = self.line().await?;
            if let Some(event) = answer.get("event").and_then(Value::as_str) {
                self.events.push_back(event.to_owned());
            } else if let Some(error) = answer.get("error") {
                let said = error.get("desc").and_then(Value::as_str);
                return Err(io::Error::other(said.unwrap_or("an error").to_owned()));
            } else if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// Waits for an event; the ones before it are forgotten.
    ///
    /// # Errors
    /// The conversation ended.
    pub(super) async fn event(&mut self, name: &str) -> io::Result<()> {
        self.first_of(&[name]).await.map(drop)
    }

    /// Waits for one of these events; the ones before it are forgotten.
    ///
    /// # Errors
    /// The conversation ended.
    pub(super) async fn first_of<'a>(&mut self, names: &[&'a str]) -> io::Result<&'a str> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(name) = names.iter().find(|name| **name == event) {
                    return Ok(name);
                }
            }
            let line = self.line().await?;
            let event = line.get("event").and_then(Value::as_str);
            self.events.extend(event.map(str::to_owned));
        }
    }

    async fn line(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        loop {
            let buffer = self.stream.fill_buf().await?;
            if buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(buffer.len(), |end| end + 1);
            line.extend_from_slice(&buffer[..taken]);
            self.stream.consume(taken);
            if end.is_some() {
                return serde_json::from_slice(&line).map_err(io::Error::from);
            }
            if line.len() > LINE {
                return Err(io::Error::other("the monitor's answer has no end"));
            }
        }
    }
}
