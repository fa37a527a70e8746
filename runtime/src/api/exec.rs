//! `POST /v1/stacks/{name}/exec`: one more process in a running container,
//! over an upgraded connection.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use stack_api::container::{Container, State as Life};
use stack_api::event::ApiError;
use stack_api::request::{ExecInput, ExecRequest};
use stack_protocol::config::{Builtin, Exec};
use stack_protocol::frame::{Decoder, Frame, Kind};
use stack_protocol::message::Exit;
use stack_vmm::{ExecSession, Input};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};
use tokio::sync::Mutex;

use super::App;
use super::answer::Failure;
use super::archive::Access;
use super::feed::{Feed, feed};
use crate::container::process::over;
use crate::container::{Handle, Record, vm_error};

pub(super) async fn exec(
    State(app): State<App>,
    Path(name): Path<String>,
    mut http: Request<Body>,
) -> Result<Response, Failure> {
    let upgrade = hyper::upgrade::on(&mut http);
    let body = axum::body::to_bytes(http.into_body(), 1 << 20)
        .await
        .map_err(|error| ApiError::new("bad_request", error.to_string()))?;
    let request: ExecRequest = serde_json::from_slice(&body)
        .map_err(|error| ApiError::new("bad_request", error.to_string()))?;
    let handle = find(&app, &name, &request)?;
    let access = match request.sync && request.at_rest {
        true => Access::open(&app, &handle).await?,
        false => {
            let agent = handle.answering().await;
            Access::Own(agent.ok_or_else(|| handle.silent())?)
        }
    };
    let begun = access.agent().exec(process(&request, &handle.record()));
    let session = match begun.await {
        Ok(session) => session,
        Err(error) => {
            let _ = access.close().await;
            return Err(failure(error).into());
        }
    };
    let detach = request.detach;
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) if detach => let_go(TokioIo::new(upgraded), session).await,
            Ok(upgraded) => bridge(TokioIo::new(upgraded), session, request.sync).await,
            Err(error) => tracing::debug!(%error, "exec session cut"),
        }
        if let Err(error) = access.close().await {
            tracing::error!(%error, "files that were brought may be lost");
        }
    });
    let headers = [
        (header::CONNECTION, "upgrade"),
        (header::UPGRADE, "stack-exec/1"),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

fn find(app: &App, project: &str, request: &ExecRequest) -> Result<Arc<Handle>, ApiError> {
    let mut handles = app.daemon.replicas(project);
    // Where there is no other, one that `run` made. They have no numbers.
    if request.index.is_none() && !request.at_rest {
        let all = app.daemon.handles(Some(project)).into_iter();
        let mut runs: Vec<_> = all.filter(|handle| handle.container().one_off).collect();
        handles.append(&mut runs);
    }
    handles.retain(|handle| {
        let container = handle.container();
        container.service == request.service && request.index.is_none_or(|n| n == container.number)
    });
    let containers: Vec<Container> = handles.iter().map(|handle| handle.container()).collect();
    let has = |state| containers.iter().any(|one| one.state == state);
    // One whose hooks still run is the second choice.
    let running = containers.iter().position(|one| one.state == Life::Running);
    let hooks = |one: &Container| one.state == Life::Starting && one.is_up();
    let running = running.or_else(|| containers.iter().position(hooks));
    let at_rest = (request.at_rest && !handles.is_empty()).then_some(0);
    let found = running.or(at_rest).and_then(|at| handles.get(at));
    found
        .cloned()
        .ok_or_else(|| not_running(request, &has, handles.is_empty()))
}

fn not_running(request: &ExecRequest, has: &dyn Fn(Life) -> bool, none: bool) -> ApiError {
    let service = format!("service \"{}\"", request.service);
    match request.index {
        Some(index) if none => {
            let message = format!("{service} has no container {index}");
            ApiError::new("not_running", message).help("`stack ps -a` shows which there are")
        }
        _ if has(Life::Paused) => ApiError::new("not_running", format!("{service} is paused"))
            .help(format!("go on with `stack unpause {}`", request.service)),
        _ if has(Life::Starting) || has(Life::Restarting) => {
            ApiError::new("not_running", format!("{service} is being started"))
                .help("try again in a moment; `stack up -d --wait` waits until it is ready")
        }
        _ => ApiError::new("not_running", format!("{service} is not running"))
            .help("start it with `stack up -d` or `stack start`"),
    }
}

fn failure(error: stack_vmm::Error) -> ApiError {
    let exit_code = error.exit_code();
    let mut error = vm_error(error);
    error.exit_code = exit_code;
    if exit_code == 127 {
        error.code = "command_not_found".to_owned();
    }
    error
}

fn process(request: &ExecRequest, record: &Record) -> Exec {
    let service = &record.blueprint.config.process;
    Exec {
        args: request.args.clone(),
        env: over(&service.env, &request.env),
        cwd: request.cwd.clone().unwrap_or_else(|| service.cwd.clone()),
        user: request.user.clone().unwrap_or_else(|| service.user.clone()),
        tty: request.tty,
        size: request.size,
        stdin: request.stdin,
        unheard: request.detach,
        privileged: request.privileged || service.privileged,
        builtin: request.sync.then_some(Builtin::Sync),
        ..service.clone()
    }
}

type Io = TokioIo<hyper::upgrade::Upgraded>;

/// Tells the client that it runs; from then on nobody listens to it.
async fn let_go(mut io: Io, mut session: ExecSession) {
    let _ = io
        .write_all(&Frame::control(&Exit::default()).to_bytes())
        .await;
    let _ = io.shutdown().await;
    session.exit().await;
}

/// Moves bytes both ways. The directions are independent: a process that
/// reads nothing may still write.
async fn bridge(io: Io, mut session: ExecSession, sync: bool) {
    let (reader, writer) = tokio::io::split(io);
    let writer = Arc::new(Mutex::new(writer));
    let (feed, fed) = feed((!sync).then(|| Arc::clone(&writer)));
    let input = session.input();
    let taking = session.input();
    let feeding = tokio::spawn(fed.each(async move |data| taking.write(data).await));
    let reading = tokio::spawn(async move {
        if let Err(error) = read(reader, &input, &feed).await {
            tracing::debug!(%error, "exec input cut");
        }
        // The client is gone: what it started goes with it.
        input.signal(libc::SIGHUP).await;
    });
    let mut listening = true;
    while let Some((stream, data)) = session.output.recv().await {
        // What nobody reads any more is still taken from the process.
        let frame = Frame::data(0, stream, data).to_bytes();
        listening = listening && writer.lock().await.write_all(&frame).await.is_ok();
    }
    let exit = session.exit().await;
    reading.abort();
    feeding.abort();
    let mut writer = writer.lock().await;
    let _ = writer.write_all(&Frame::control(&exit).to_bytes()).await;
    let _ = writer.shutdown().await;
}

async fn read(mut reader: ReadHalf<Io>, input: &Input, feed: &Feed) -> std::io::Result<()> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let read = reader.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        decoder.push(&buffer[..read]);
        while let Some(frame) = decoder.next_frame().map_err(std::io::Error::other)? {
            take(input, feed, frame).await;
        }
    }
}

async fn take(input: &Input, feed: &Feed, frame: Frame) {
    match frame.kind {
        Kind::Data => feed.push(frame.payload).await,
        Kind::Control => match serde_json::from_slice(&frame.payload) {
            Ok(ExecInput::Resize { rows, columns }) => input.resize(rows, columns).await,
            Ok(ExecInput::Signal { signal }) => input.signal(signal).await,
            Err(error) => tracing::debug!(%error, "not an exec message"),
        },
        Kind::Credit | Kind::Log => {}
    }
}
