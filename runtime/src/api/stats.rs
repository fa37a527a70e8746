//! `GET /v1/stacks/{name}/stats` and `GET /v1/stacks/{name}/processes`: what
//! the guests say of themselves.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use futures_util::future::join_all;
use stack_api::look::{Chosen, Process, Processes, Usage};
use stack_protocol::message::{Command, Outcome, ProcessInfo, Stats};

use super::App;
use crate::container::Handle;
use crate::time::now_ns;

pub(super) async fn stats(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(chosen): Query<Chosen>,
) -> Json<Vec<Usage>> {
    let handles = app.chosen(&name, chosen.services.as_deref());
    Json(join_all(handles.iter().map(usage)).await)
}

pub(super) async fn processes(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(chosen): Query<Chosen>,
) -> Json<Vec<Processes>> {
    let handles = app.chosen(&name, chosen.services.as_deref());
    let lists = join_all(handles.iter().map(list)).await;
    Json(lists.into_iter().flatten().collect())
}

async fn usage(handle: &Arc<Handle>) -> Usage {
    let (stats, live) = match handle.ask(Command::Stats).await {
        Some(Outcome::Stats(stats)) => (*stats, true),
        _ => (Stats::default(), false),
    };
    let record = handle.record();
    let container = record.container;
    // The guest is not trusted with more than it was given.
    let limit = record.spec.memory.unwrap_or(container.memory);
    Usage {
        id: container.id,
        container: container.name,
        service: container.service,
        live,
        time_ns: now_ns(),
        cpus: container.cpus,
        cpu_usec: stats.cpu_usec,
        memory: stats.memory_bytes.min(container.memory),
        memory_limit: limit,
        rx_bytes: stats.rx_bytes,
        tx_bytes: stats.tx_bytes,
        read_bytes: stats.read_bytes,
        write_bytes: stats.write_bytes,
        pids: stats.pids,
    }
}

async fn list(handle: &Arc<Handle>) -> Option<Processes> {
    let Some(Outcome::Processes { list }) = handle.ask(Command::Processes).await else {
        return None;
    };
    let container = handle.container();
    Some(Processes {
        container: container.name,
        service: container.service,
        processes: list.into_iter().map(process).collect(),
    })
}

fn process(info: ProcessInfo) -> Process {
    Process {
        pid: info.pid,
        ppid: info.ppid,
        user: info.user,
        cpu_ms: info.cpu_ms,
        age_ms: info.age_ms,
        memory: info.memory_bytes,
        state: info.state,
        command: info.command,
    }
}
