//! Commands in the containers of a service: one after the other, and beside all
//! else, for one may never end.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use stack_api::request::ExecRequest;
use stack_planner::WatchExec;
use stack_protocol::frame::{Decoder, Frame, Kind};
use stack_protocol::message::Exit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::report;
use super::service::running;
use crate::client::Client;
use crate::error::Error;
use crate::ui::Ui;

/// A line that is longer is shown in parts.
const MOST: usize = 64 << 10;
/// Lines of a failed command that are shown where nothing else is.
const LAST: usize = 20;
/// After this time it is said that a command has not ended.
const LONG: Duration = Duration::from_secs(10);

/// The commands of all services. They end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Commands {
    queues: BTreeMap<String, mpsc::UnboundedSender<WatchExec>>,
    tasks: JoinSet<()>,
}

impl Commands {
    /// Where those of one service go.
    pub(super) fn of(
        &mut self,
        how: (Ui, bool),
        client: &Client,
        (stack, service): (&str, &str),
    ) -> mpsc::UnboundedSender<WatchExec> {
        let tasks = &mut self.tasks;
        let queue = self.queues.entry(service.to_owned()).or_insert_with(|| {
            let (to, from) = mpsc::unbounded_channel();
            let runner = Runner {
                how,
                client: client.clone(),
                stack: stack.to_owned(),
                service: service.to_owned(),
            };
            tasks.spawn(runner.run(from));
            to
        });
        queue.clone()
    }
}

/// The task of one service.
struct Runner {
    how: (Ui, bool),
    client: Client,
    stack: String,
    service: String,
}

impl Runner {
    async fn run(self, mut from: mpsc::UnboundedReceiver<WatchExec>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match from.recv().await {
                    Some(exec) => waiting.push_back(exec),
                    None => return,
                }
            }
            // What was asked for several times meanwhile is done once.
            while let Ok(exec) = from.try_recv() {
                if !waiting.contains(&exec) {
                    waiting.push_back(exec);
                }
            }
            if let Some(exec) = waiting.pop_front() {
                self.command(&exec).await;
            }
        }
    }

    async fn command(&self, exec: &WatchExec) {
        let (ui, service) = (self.how.0, &self.service);
        let numbers: Vec<u32> = match running(&self.client, &self.stack, service).await {
            Ok(list) => list.iter().map(|container| container.number).collect(),
            Err(error) => return report::command_failed(ui, service, exec, &error),
        };
        if numbers.is_empty() {
            let error = Error::Lost(format!("{service} does not run"));
            report::command_failed(ui, service, exec, &error);
        }
        for number in numbers {
            let began = Instant::now();
            let in_one = self.in_one(exec, number);
            tokio::pin!(in_one);
            let result = match tokio::time::timeout(LONG, &mut in_one).await {
                Ok(result) => result,
                Err(_) => {
                    report::still_runs(ui, service, exec);
                    in_one.await
                }
            };
            match result {
                Ok(code) => report::command(self.how, service, exec, code, began),
                Err(error) => report::command_failed(ui, service, exec, &error),
            }
        }
    }

    /// Runs it to its end in one container; gives its exit code.
    ///
    /// # Errors
    /// It cannot be started, or its container ended.
    async fn in_one(&self, exec: &WatchExec, number: u32) -> Result<i32, Error> {
        let request = ExecRequest {
            service: self.service.clone(),
            index: Some(number),
            args: exec.command.clone(),
            env: exec.environment.clone(),
            cwd: exec.working_dir.clone(),
            user: exec.user.clone(),
            privileged: exec.privileged,
            ..ExecRequest::default()
        };
        let lost = |error: std::io::Error| Error::Lost(error.to_string());
        let (mut io, _connection) = self.client.exec(&self.stack, &request).await?;
        // It has no input.
        let end = Frame::data(0, 0, Vec::new()).to_bytes();
        io.write_all(&end).await.map_err(lost)?;
        let (ui, quiet) = self.how;
        let mut said = Said::default();
        let mut held = VecDeque::new();
        let mut tell = |line: String| match quiet {
            true => {
                held.push_back(line);
                if held.len() > LAST {
                    held.pop_front();
                }
            }
            false => report::output(ui, &self.service, &line),
        };
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 32 << 10];
        let exit: Exit = 'all: loop {
            let read = io.read(&mut buffer).await.map_err(lost)?;
            if read == 0 {
                return Err(Error::Lost("the container or its VM has ended".to_owned()));
            }
            decoder.push(&buffer[..read]);
            while let Some(frame) = decoder
                .next_frame()
                .map_err(|error| Error::Lost(error.to_string()))?
            {
                match frame.kind {
                    Kind::Data => said.take(frame.channel, &frame.payload, &mut tell),
                    Kind::Credit | Kind::Log => {}
                    Kind::Control => {
                        break 'all serde_json::from_slice(&frame.payload)
                            .map_err(|error| Error::Lost(error.to_string()))?;
                    }
                }
            }
        };
        said.end(&mut tell);
        exit.error.into_iter().for_each(&mut tell);
        if exit.code != 0 {
            for line in held {
                report::output(ui, &self.service, &line);
            }
        }
        Ok(exit.code)
    }
}

/// Output that is no whole line yet, by channel.
#[derive(Default)]
struct Said(BTreeMap<u32, Vec<u8>>);

impl Said {
    fn take(&mut self, channel: u32, bytes: &[u8], tell: &mut impl FnMut(String)) {
        let begun = self.0.entry(channel).or_default();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(part);
            if part.ends_with(b"\n") || begun.len() >= MOST {
                tell(text(begun));
                begun.clear();
            }
        }
    }

    fn end(self, tell: &mut impl FnMut(String)) {
        for rest in self.0.values().filter(|rest| !rest.is_empty()) {
            tell(text(rest));
        }
    }
}

fn text(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    line.trim_end_matches(['\n', '\r']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_told_by_the_line() {
        let mut told = Vec::new();
        let mut said = Said::default();
        let mut tell = |line| told.push(line);
        said.take(1, b"one\r\ntw", &mut tell);
        said.take(2, b"error\n", &mut tell);
        said.take(1, b"o\n\nthree", &mut tell);
        said.end(&mut tell);
        assert_eq!(told, ["one", "error", "two", "", "three"]);
    }
}
