//! `POST /v1/stacks/{name}/attach`: the streams of a service's main process,
//! over an upgraded connection.
//!
//! Output comes through the log, so that a slow client delays nobody but the
//! command that it has run itself; input goes straight to the agent.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use stack_api::container::{Container, State as Life};
use stack_api::event::ApiError;
use stack_api::request::ExecInput;
use stack_api::run::{Attach, End};
use stack_api::spec::Condition;
use stack_protocol::frame::{Decoder, Frame, Kind};
use stack_protocol::message::Command;
use stack_vmm::Agent;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};
use tokio::sync::Mutex;

use super::App;
use super::answer::Failure;
use super::feed::{Back, Feed, feed};
use crate::container::{Handle, NEVER_RAN, Record};
use crate::daemon::Daemon;
use crate::logs::{Entry, Reader};
use crate::stack;

/// Output is looked for this often even when nobody told of it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long the client waits at most, after the process, for the end of its VM
/// and of a container that goes with it. What is done next may count on both:
/// the name is free, and `ps` says how it ended.
const AFTERMATH: Duration = Duration::from_secs(5);
/// What a client is told that has not got everything.
const MISSED: &str = "a part of its output is missing: it was not read as fast as it came, and was \
     deleted from the log meanwhile (`logging.options` says how much is kept)";
/// The same, when its start was called off.
const CALLED_OFF: &str = "it was stopped while it was starting";
/// Largest request, in bytes.
const REQUEST: usize = 1 << 20;

type Io = TokioIo<hyper::upgrade::Upgraded>;

pub(super) async fn attach(
    State(app): State<App>,
    Path(name): Path<String>,
    mut http: Request<Body>,
) -> Result<Response, Failure> {
    let upgrade = hyper::upgrade::on(&mut http);
    let bad = |error: String| ApiError::new("bad_request", error);
    let body = axum::body::to_bytes(http.into_body(), REQUEST)
        .await
        .map_err(|error| bad(error.to_string()))?;
    let request: Attach = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    let handle = find(&app.daemon, &name, &request)?;
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => converse(handle, app.daemon, &request, TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "attached client cut"),
        }
    });
    let headers = [
        (header::CONNECTION, "upgrade"),
        (header::UPGRADE, "stack-exec/1"),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

fn find(daemon: &Daemon, project: &str, request: &Attach) -> Result<Arc<Handle>, ApiError> {
    let found = match &request.container {
        Some(wanted) => daemon.handles(Some(project)).into_iter().find(|handle| {
            let container = handle.container();
            container.name == *wanted || container.id == *wanted
        }),
        None => daemon.replicas(project).into_iter().find(|handle| {
            let container = handle.container();
            container.service == request.service
                && request.index.is_none_or(|n| n == container.number)
                && (request.start || container.is_up())
        }),
    };
    found.ok_or_else(|| {
        let what = request.container.clone();
        let what = what.unwrap_or_else(|| format!("service \"{}\"", request.service));
        ApiError::new("not_running", format!("{what} is not running"))
            .help("start it with `stack up -d` or `stack start`")
    })
}

/// Counts a client as long as it lives.
struct Attached<'a>(&'a Handle);

impl<'a> Attached<'a> {
    fn new(handle: &'a Handle) -> Attached<'a> {
        handle.attached.send_modify(|clients| *clients += 1);
        Attached(handle)
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.0.attached.send_modify(|clients| *clients -= 1);
    }
}

async fn converse(handle: Arc<Handle>, daemon: Arc<Daemon>, request: &Attach, io: Io) {
    let attached = Attached::new(&handle);
    let mut reader = Reader::at_end(&daemon.paths.log(&handle.id));
    let container = handle.container();
    if container.one_off && !request.detach {
        // As with a pipe: the command waits for whoever called it.
        reader.is_waited_for(&handle.readers);
    }
    let before = container.finished_ms;
    let (from, to) = tokio::io::split(io);
    let to = Arc::new(Mutex::new(to));
    if request.detach {
        let begun = match request.start {
            true => stack::started(&handle).await,
            false => stack::reached(&handle, Condition::ServiceStarted).await,
        };
        let exit = match begun {
            Ok(()) => End::default(),
            Err(error) => End {
                code: error.exit_code,
                error: Some(error.message),
                error_code: Some(error.code),
            },
        };
        return end(&to, Some(&exit)).await;
    }
    if request.start {
        handle.start();
    }
    let (feed, fed) = feed(Some(Arc::clone(&to)));
    let mut agents = handle.agent.subscribe();
    let takes_input = handle.record().blueprint.config.process.stdin;
    // The end of one client's input is not the end of a service's: others may
    // come (Docker's `StdinOnce`).
    let ends_with_client = container.one_off;
    let feeding = tokio::spawn(fed.each(async move |data| {
        if data.is_empty() && !ends_with_client {
            return;
        }
        if takes_input && let Some(agent) = current(&mut agents).await {
            agent.service_input().write(data).await;
        }
    }));
    let input = tokio::spawn(input(from, feed, Arc::clone(&handle), request.size));
    let sent = output(&to, &handle, &mut reader, before).await;
    // Its remover waits for that.
    drop(attached);
    let exit = match sent.is_ok() {
        true => {
            let _ = tokio::time::timeout(AFTERMATH, over(&handle, &daemon)).await;
            let mut record = handle.record();
            if record.called_off {
                // What it has is of the run before.
                record.container.exit_code = None;
            }
            Some(exit(&record.container, &reader))
        }
        false => None,
    };
    end(&to, exit.as_ref()).await;
    input.abort();
    feeding.abort();
}

async fn end(to: &Back, exit: Option<&End>) {
    let mut to = to.lock().await;
    if let Some(exit) = exit {
        let _ = to.write_all(&Frame::control(exit).to_bytes()).await;
    }
    let _ = to.shutdown().await;
}

/// Its VM has ended, and the container is gone if it is to go.
async fn over(handle: &Handle, daemon: &Daemon) {
    let mut gone = handle.ended.subscribe();
    let mut changes = handle.changes();
    let stopped = |record: &Record| {
        let stays = record.wanted || !record.remove_at_end;
        stays && record.container.state != Life::Stopping
    };
    let is_gone = tokio::select! {
        gone = async { gone.wait_for(|gone| *gone).await.is_ok() } => gone,
        () = async { drop(changes.wait_for(stopped).await) } => false,
    };
    if is_gone {
        // Whoever removes it has its turn until nothing is left of it.
        let turn = daemon.operation(&handle.container().project);
        drop(turn.lock().await);
    }
}

/// Sends output until the process has ended.
async fn output(
    to: &Back,
    handle: &Handle,
    reader: &mut Reader,
    before: Option<u64>,
) -> std::io::Result<()> {
    let mut changes = handle.changes();
    let mut gone = handle.ended.subscribe();
    loop {
        let mut news = Box::pin(handle.logged.notified());
        news.as_mut().enable();
        // Asked first: what was written until then is read below.
        let over = has_ended(&changes.borrow_and_update(), before) || *gone.borrow_and_update();
        let mut frames = Vec::new();
        let mut any = false;
        while let Some(entry) = reader.next_raw() {
            any = true;
            encode(entry, &mut frames);
            if frames.len() > 64 << 10 {
                send(to, &std::mem::take(&mut frames)).await?;
                handle.passed.notify_waiters();
            }
        }
        if !frames.is_empty() {
            send(to, &frames).await?;
        }
        // Who waits for that tells of more: without news it would never end.
        if any {
            handle.passed.notify_waiters();
        }
        if over {
            return Ok(());
        }
        tokio::select! {
            () = news => {}
            _ = changes.changed() => {}
            _ = gone.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

async fn send(to: &Back, bytes: &[u8]) -> std::io::Result<()> {
    to.lock().await.write_all(bytes).await
}

fn encode(entry: Entry, to: &mut Vec<u8>) {
    // What hooks say is in the log only: the streams are those of the process.
    if entry.stream == 0 || entry.aside {
        return;
    }
    let mut data = entry.data;
    if !entry.partial {
        data.push(b'\n');
    }
    if !data.is_empty() {
        Frame::data(0, u32::from(entry.stream), data).encode(to);
    }
}

/// The run that the client came for is over.
fn has_ended(record: &Record, before: Option<u64>) -> bool {
    let container = &record.container;
    match container.state {
        // Its start may have been called off.
        Life::Exited | Life::Dead | Life::Restarting => {
            container.finished_ms != before || !record.wanted
        }
        Life::Created => !record.wanted,
        // Its process has ended, its VM has not.
        Life::Stopping => container.exit_code.is_some(),
        Life::Starting | Life::Running | Life::Paused => false,
    }
}

fn exit(container: &Container, reader: &Reader) -> End {
    let missed = reader.has_missed().then_some(MISSED);
    let never = container.exit_code.is_none().then_some(CALLED_OFF);
    let error = container.error.clone();
    let error = error.or(missed.or(never).map(str::to_owned));
    let error_code = container.error_code.clone();
    End {
        code: match container.exit_code {
            // What is lost is lost, however well it went otherwise.
            Some(0) if error.is_some() => 1,
            // The code is none of the process, which was not reached.
            Some(NEVER_RAN) if error_code.is_some() => 1,
            code => code.unwrap_or(-1),
        },
        error,
        error_code,
    }
}

/// Passes on what the client sends, for as long as it does.
async fn input(mut from: ReadHalf<Io>, feed: Feed, handle: Arc<Handle>, size: Option<(u16, u16)>) {
    let mut agents = handle.agent.subscribe();
    if let (Some((rows, columns)), Some(agent)) = (size, current(&mut agents).await) {
        agent.service_input().resize(rows, columns).await;
    }
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        decoder.push(&buffer[..read]);
        while let Ok(Some(frame)) = decoder.next_frame() {
            pass_on(&mut agents, &feed, frame).await;
        }
    }
}

type Agents = tokio::sync::watch::Receiver<Option<Agent>>;

/// The agent, as soon as there is one.
async fn current(agents: &mut Agents) -> Option<Agent> {
    let found = agents.wait_for(Option::is_some).await.ok()?;
    found.clone()
}

async fn pass_on(agents: &mut Agents, feed: &Feed, frame: Frame) {
    let message = match frame.kind {
        Kind::Data => return feed.push(frame.payload).await,
        Kind::Control => serde_json::from_slice(&frame.payload),
        Kind::Credit | Kind::Log => return,
    };
    let Some(agent) = current(agents).await else {
        return;
    };
    match message {
        Ok(ExecInput::Resize { rows, columns }) => {
            agent.service_input().resize(rows, columns).await;
        }
        Ok(ExecInput::Signal { signal }) => {
            let session = 0;
            let _ = agent.notify(Command::Signal { session, signal }).await;
        }
        Err(error) => tracing::debug!(%error, "not a message of an attached client"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hook_says_is_not_the_output_of_the_process() {
        let entry = |text: &str, aside| Entry {
            stream: 1,
            data: text.as_bytes().to_vec(),
            aside,
            ..Entry::default()
        };
        let mut frames = Vec::new();
        encode(entry("migrated", true), &mut frames);
        assert!(frames.is_empty());
        encode(entry("{}", false), &mut frames);
        let mut decoder = Decoder::default();
        decoder.push(&frames);
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(frame.payload, b"{}\n");
    }

    #[test]
    fn a_process_that_was_not_reached_has_no_code() {
        let dir = tempfile::tempdir().unwrap();
        let reader = Reader::open(&dir.path().join("a.log"));
        let mut container = Container {
            exit_code: Some(NEVER_RAN),
            error: Some("no QEMU".to_owned()),
            error_code: Some("qemu_missing".to_owned()),
            ..Container::default()
        };
        let end = exit(&container, &reader);
        assert_eq!(
            (end.code, end.error_code.as_deref()),
            (1, Some("qemu_missing"))
        );
        // Its own code, by chance.
        (container.error, container.error_code) = (None, None);
        assert_eq!(exit(&container, &reader).code, NEVER_RAN);
    }

    #[test]
    fn what_was_lost_is_no_success() {
        let dir = tempfile::tempdir().unwrap();
        let reader = Reader::open(&dir.path().join("a.log"));
        let ended = |code, error: Option<&str>| {
            let container = Container {
                exit_code: Some(code),
                error: error.map(str::to_owned),
                ..Container::default()
            };
            exit(&container, &reader).code
        };
        assert_eq!(ended(0, None), 0);
        assert_eq!(ended(0, Some("the end of its output is lost")), 1);
        assert_eq!(ended(3, Some("the end of its output is lost")), 3);
    }
}
