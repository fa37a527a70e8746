//! `GET` and `PUT /v1/stacks/{name}/archive`: files out of a container and
//! into it, as tar streams. The agent packs and unpacks, so nothing of the
//! image is needed. A container that does not run, or waits for its next start,
//! gets a VM for the time.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use stack_api::event::ApiError;
use stack_api::look::Archive;
use stack_protocol::config::{Builtin, Exec};
use stack_vmm::{Agent, ExecSession};
use tokio::sync::mpsc;

use super::App;
use super::answer::Failure;
use crate::container::aside::Aside;
use crate::container::{Handle, Record, passing, vm_error};
use crate::volume::Reach;

/// Bytes of an error message that are kept.
const MESSAGE: usize = 4 << 10;

/// A way to files: a container's own VM, or one for the time.
pub(super) enum Access {
    Own(Agent),
    Aside(Aside),
    Volume(Reach),
}

impl Access {
    /// Finds one that can read from a path, or write there.
    ///
    /// # Errors
    /// As [`Access::open`], or there is nothing while the container does not run.
    async fn to(
        app: &App,
        handle: &Arc<Handle>,
        path: &str,
        writes: bool,
    ) -> Result<Access, ApiError> {
        let access = Access::open(app, handle).await?;
        if !matches!(access, Access::Aside(_)) {
            return Ok(access);
        }
        let config = handle.record().blueprint.config;
        if let Err(error) = passing::check(&config, path, writes) {
            access.close().await?;
            return Err(error);
        }
        Ok(access)
    }

    /// Finds one.
    ///
    /// # Errors
    /// The container does not answer, or a VM does not come up.
    pub(super) async fn open(app: &App, handle: &Arc<Handle>) -> Result<Access, ApiError> {
        let mut changes = handle.changes();
        let own = tokio::select! {
            biased;
            _ = changes.wait_for(Record::rests) => None,
            agent = handle.answering() => agent,
        };
        if let Some(agent) = own {
            return Ok(Access::Own(agent));
        }
        let record = handle.record();
        if record.container.state.is_live() && !record.rests() {
            return Err(handle.silent());
        }
        Aside::open(&app.daemon, handle).await.map(Access::Aside)
    }

    /// Whom to ask.
    pub(super) fn agent(&self) -> &Agent {
        match self {
            Access::Own(agent) => agent,
            Access::Aside(aside) => aside.agent(),
            Access::Volume(reach) => reach.agent(),
        }
    }

    async fn start(&self, builtin: Builtin, stdin: bool) -> Result<ExecSession, ApiError> {
        let exec = Exec {
            cwd: "/".to_owned(),
            stdin,
            privileged: true,
            builtin: Some(builtin),
            ..Exec::default()
        };
        self.agent().exec(exec).await.map_err(vm_error)
    }

    /// Ends a VM for the time, with everything written to its disks.
    ///
    /// # Errors
    /// Not everything could be written.
    pub(super) async fn close(self) -> Result<(), ApiError> {
        match self {
            Access::Own(_) => Ok(()),
            Access::Aside(aside) => aside.close().await,
            Access::Volume(reach) => reach.close().await,
        }
    }
}

fn find(app: &App, project: &str, query: &Archive) -> Result<Arc<Handle>, ApiError> {
    let all = match &query.container {
        Some(_) => app.daemon.handles(Some(project)),
        None => app.daemon.replicas(project),
    };
    let fits = |handle: &&Arc<Handle>| {
        let container = handle.container();
        if let Some(name) = &query.container {
            return container.name == *name;
        }
        container.service == query.service && query.index.is_none_or(|n| n == container.number)
    };
    let running = |handle: &&Arc<Handle>| handle.container().state.is_live();
    let found = all.iter().filter(fits).find(running);
    let found = found.or_else(|| all.iter().find(fits));
    found.cloned().ok_or_else(|| {
        let message = format!("service {} has no container", query.service);
        ApiError::new("no_such_service", message).help("create it with `stack create`")
    })
}

pub(super) async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<Archive>,
) -> Result<Response, Failure> {
    let handle = find(&app, &name, &query)?;
    let access = Access::to(&app, &handle, &query.path, false).await?;
    let builtin = Builtin::Pack {
        path: query.path,
        name: query.name,
        follow: query.follow,
        one_file_system: query.one_file_system,
        outside: false,
        top: false,
    };
    stream(access, builtin).await
}

/// Answers with what a builtin writes.
pub(super) async fn stream(access: Access, builtin: Builtin) -> Result<Response, Failure> {
    let (to, from) = mpsc::channel::<std::io::Result<Bytes>>(4);
    let (began, begun) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        match access.start(builtin, false).await {
            Ok(session) => send(session, &to, began).await,
            Err(error) => drop(began.send(Err(error))),
        }
        // It was read only.
        let _ = access.close().await;
    });
    let lost = || ApiError::new("internal", "the copy was cut off");
    begun.await.map_err(|_| lost())??;
    let body = futures_util::stream::unfold(from, |mut from| async move {
        from.recv().await.map(|piece| (piece, from))
    });
    let headers = [(header::CONTENT_TYPE, "application/x-tar")];
    Ok((headers, Body::from_stream(body)).into_response())
}

type Began = tokio::sync::oneshot::Sender<Result<(), ApiError>>;

/// Passes the stream on. What goes wrong before its first byte is an error of
/// the call, what goes wrong later cuts the stream off.
async fn send(mut session: ExecSession, to: &mpsc::Sender<std::io::Result<Bytes>>, began: Began) {
    let mut began = Some(began);
    let mut message = Vec::new();
    while let Some((stream, data)) = session.output.recv().await {
        if stream == 2 {
            message.extend(data.into_iter().take(MESSAGE - message.len()));
            continue;
        }
        if let Some(began) = began.take() {
            let _ = began.send(Ok(()));
        }
        if to.send(Ok(data.into())).await.is_err() {
            session.signal(libc::SIGKILL).await;
            break;
        }
    }
    let exit = session.exit().await;
    if exit.code != 0 {
        let error = failure(&message, exit.code);
        match began.take() {
            Some(began) => drop(began.send(Err(error))),
            None => drop(to.send(Err(std::io::Error::other(error.message))).await),
        }
    } else if let Some(began) = began.take() {
        let _ = began.send(Ok(()));
    }
}

fn failure(message: &[u8], code: i32) -> ApiError {
    let text = String::from_utf8_lossy(message);
    match text.trim() {
        "" => ApiError::new("copy_failed", format!("the copy ended with code {code}")),
        text => ApiError::new("copy_failed", text),
    }
}

pub(super) async fn put(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<Archive>,
    body: Body,
) -> Result<(), Failure> {
    let handle = find(&app, &name, &query)?;
    let access = Access::to(&app, &handle, &query.path, true).await?;
    let builtin = Builtin::Unpack {
        path: query.path,
        tree: query.tree,
        contents: query.contents,
        owners: query.owners,
        directories: false,
        outside: false,
        // A link may lead into memory, and so may what is in the stream.
        lasting: matches!(access, Access::Aside(_)),
    };
    take(access, builtin, body).await
}

/// Gives a builtin what it reads.
pub(super) async fn take(access: Access, builtin: Builtin, body: Body) -> Result<(), Failure> {
    // The VM must be ended properly also when the client goes away.
    let work = tokio::spawn(async move {
        let result = match access.start(builtin, true).await {
            Ok(session) => receive(session, body).await,
            Err(error) => Err(error),
        };
        let closed = access.close().await;
        result.and(closed)
    });
    let result = work.await;
    Ok(result.map_err(|error| ApiError::new("internal", error.to_string()))??)
}

async fn receive(mut session: ExecSession, body: Body) -> Result<(), ApiError> {
    let input = session.input();
    let sending = tokio::spawn(async move {
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => input.write(piece.to_vec()).await,
                // Half a stream is none.
                Err(_) => {
                    input.signal(libc::SIGKILL).await;
                    return;
                }
            }
        }
        input.write(Vec::new()).await;
    });
    let mut message = Vec::new();
    while let Some((_, data)) = session.output.recv().await {
        message.extend(data.into_iter().take(MESSAGE - message.len()));
    }
    let exit = session.exit().await;
    sending.abort();
    if exit.code == 0 {
        Ok(())
    } else {
        Err(failure(&message, exit.code))
    }
}
