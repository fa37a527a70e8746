//! `POST /v1/stacks/{name}/exec`: one more process in a running container,
//! over an upgraded connection.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use stack_api::container::State as Life;
use stack_api::event::ApiError;
use stack_api::request::{ExecInput, ExecRequest};
use stack_protocol::config::{Builtin, Exec};
use stack_protocol::frame::{Decoder, Frame, Kind};
use stack_protocol::message::Exit;
use stack_vmm::{ExecSession, Input};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};

use super::App;
use super::answer::Failure;
use crate::container::process::over;
use crate::container::{Record, vm_error};

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
    let handles: Vec<_> = app
        .daemon
        .replicas(&name)
        .into_iter()
        .filter(|handle| handle.container().service == request.service)
        .filter(|handle| request.index.is_none_or(|n| n == handle.container().number))
        .collect();
    let states = || handles.iter().map(|handle| handle.container().state);
    let is_paused = states().any(|state| state == Life::Paused);
    let running = states().position(|state| state == Life::Running);
    let handle = running
        .and_then(|at| handles.get(at))
        .ok_or_else(|| not_running(&request, handles.is_empty(), is_paused))?;
    let agent = handle.answering().await;
    let agent = agent.ok_or_else(|| handle.silent())?;
    let session = agent
        .exec(process(&request, &handle.record()))
        .await
        .map_err(|error| {
            let exit_code = error.exit_code();
            let mut error = vm_error(error);
            error.exit_code = exit_code;
            if exit_code == 127 {
                error.code = "command_not_found".to_owned();
            }
            error
        })?;
    let detach = request.detach;
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) if detach => let_go(TokioIo::new(upgraded), session).await,
            Ok(upgraded) => bridge(TokioIo::new(upgraded), session).await,
            Err(error) => tracing::debug!(%error, "exec session cut"),
        }
    });
    let headers = [
        (header::CONNECTION, "upgrade"),
        (header::UPGRADE, "stack-exec/1"),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

fn not_running(request: &ExecRequest, none: bool, paused: bool) -> ApiError {
    let service = format!("service \"{}\"", request.service);
    match (request.index, paused) {
        (Some(index), _) if none => {
            let message = format!("{service} has no container {index}");
            ApiError::new("not_running", message).help("`stack ps -a` shows which there are")
        }
        (_, true) => ApiError::new("not_running", format!("{service} is paused"))
            .help(format!("go on with `stack unpause {}`", request.service)),
        _ => ApiError::new("not_running", format!("{service} is not running"))
            .help("start it with `stack up -d` or `stack start`"),
    }
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
async fn bridge(io: Io, mut session: ExecSession) {
    let (reader, mut writer) = tokio::io::split(io);
    let input = session.input();
    let reading = tokio::spawn(async move {
        if let Err(error) = read(reader, &input).await {
            tracing::debug!(%error, "exec input cut");
        }
        // The client is gone: what it started goes with it.
        input.signal(libc::SIGHUP).await;
    });
    let mut listening = true;
    while let Some((stream, data)) = session.output.recv().await {
        // What nobody reads any more is still taken from the process.
        listening = listening
            && writer
                .write_all(&Frame::data(0, stream, data).to_bytes())
                .await
                .is_ok();
    }
    let exit = session.exit().await;
    reading.abort();
    let _ = writer.write_all(&Frame::control(&exit).to_bytes()).await;
    let _ = writer.shutdown().await;
}

async fn read(mut reader: ReadHalf<Io>, input: &Input) -> std::io::Result<()> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let read = reader.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        decoder.push(&buffer[..read]);
        while let Some(frame) = decoder.next_frame().map_err(std::io::Error::other)? {
            take(input, frame).await;
        }
    }
}

async fn take(input: &Input, frame: Frame) {
    match frame.kind {
        Kind::Data => input.write(frame.payload).await,
        Kind::Control => match serde_json::from_slice(&frame.payload) {
            Ok(ExecInput::Resize { rows, columns }) => input.resize(rows, columns).await,
            Ok(ExecInput::Signal { signal }) => input.signal(signal).await,
            Err(error) => tracing::debug!(%error, "not an exec message"),
        },
        Kind::Credit | Kind::Log => {}
    }
}
