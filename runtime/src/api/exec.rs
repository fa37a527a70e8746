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
use stack_protocol::config::Exec;
use stack_protocol::frame::{Decoder, Frame, Kind};
use stack_vmm::ExecSession;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::App;
use super::answer::Failure;
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
    let handle = app
        .daemon
        .handles(Some(&name))
        .into_iter()
        .filter(|handle| handle.container().service == request.service)
        .filter(|handle| request.index.is_none_or(|n| n == handle.container().number))
        .find(|handle| handle.container().state == Life::Running)
        .ok_or_else(|| {
            ApiError::new("not_running", format!("service \"{}\" is not running", request.service))
                .help("start it with `stack up -d` or `stack start`")
        })?;
    let agent = handle.agent.borrow().clone();
    let agent =
        agent.ok_or_else(|| ApiError::new("not_running", "its VM does not answer at the moment"))?;
    let session = agent
        .exec(process(&request, &handle.record()))
        .await
        .map_err(|error| {
            let exit_code = error.exit_code();
            let mut error = vm_error(error);
            error.exit_code = exit_code;
            error
        })?;
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await
            && let Err(error) = bridge(TokioIo::new(upgraded), session).await
        {
            tracing::debug!(%error, "exec session cut");
        }
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "stack-exec/1")];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

fn process(request: &ExecRequest, record: &Record) -> Exec {
    let service = &record.blueprint.config.process;
    let mut env = service.env.clone();
    for entry in &request.env {
        let name = entry.split('=').next().unwrap_or(entry);
        env.retain(|old| old.split('=').next() != Some(name));
        env.push(entry.clone());
    }
    Exec {
        args: request.args.clone(),
        env,
        cwd: request.cwd.clone().unwrap_or_else(|| service.cwd.clone()),
        user: request.user.clone().unwrap_or_else(|| service.user.clone()),
        tty: request.tty,
        size: request.size,
        stdin: request.stdin,
        privileged: request.privileged || service.privileged,
        ..service.clone()
    }
}

async fn bridge(
    io: TokioIo<hyper::upgrade::Upgraded>,
    mut session: ExecSession,
) -> std::io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 32 << 10];
    let mut open = true;
    loop {
        tokio::select! {
            output = session.output.recv() => match output {
                Some((stream, data)) => {
                    writer.write_all(&Frame::data(0, stream, data.to_vec()).to_bytes()).await?;
                }
                None => {
                    let exit = session.exit().await;
                    writer.write_all(&Frame::control(&exit).to_bytes()).await?;
                    return writer.shutdown().await;
                }
            },
            read = reader.read(&mut buffer), if open => {
                let read = read?;
                if read == 0 {
                    // The client is gone: what it started goes with it.
                    session.signal(libc::SIGHUP).await;
                    open = false;
                    continue;
                }
                decoder.push(&buffer[..read]);
                while let Some(frame) = decoder.next_frame().map_err(std::io::Error::other)? {
                    input(&session, frame).await;
                }
            }
        }
    }
}

async fn input(session: &ExecSession, frame: Frame) {
    match frame.kind {
        Kind::Data => session.write(frame.payload).await,
        Kind::Control => match serde_json::from_slice(&frame.payload) {
            Ok(ExecInput::Resize { rows, columns }) => session.resize(rows, columns).await,
            Ok(ExecInput::Signal { signal }) => session.signal(signal).await,
            Err(error) => tracing::debug!(%error, "not an exec message"),
        },
        Kind::Credit | Kind::Log => {}
    }
}

