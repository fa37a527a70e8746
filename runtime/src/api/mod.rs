//! The HTTP API on the unix socket. The routes: [`stack_api::routes`].

mod answer;
mod archive;
mod attach;
mod build;
mod debug;
mod doctor;
mod events;
mod exec;
mod feed;
mod history;
mod images;
mod logs;
mod networks;
mod run;
mod stacks;
mod stats;
mod system;
mod volumes;
mod wait;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post, put};
use stack_api::request::Version;
use tokio::net::UnixListener;
use tokio::sync::Notify;

use crate::container::Handle;
use crate::daemon::Daemon;

/// What every handler gets.
#[derive(Debug, Clone)]
pub struct App {
    /// The daemon.
    pub daemon: Arc<Daemon>,
    /// Signalled to end the process.
    pub quit: Arc<Notify>,
}

impl App {
    /// The containers of these services, or of all; those of `run`, too.
    fn chosen(&self, project: &str, services: Option<&str>) -> Vec<Arc<Handle>> {
        let mut handles = self.daemon.handles(Some(project));
        handles.retain(|handle| {
            let service = handle.container().service;
            services.is_none_or(|list| list.split(',').any(|name| name == service))
        });
        handles
    }
}

/// Serves until `quit` is signalled.
///
/// # Errors
/// The socket cannot be made.
pub async fn serve(daemon: Arc<Daemon>) -> std::io::Result<()> {
    let socket = daemon.paths.socket.clone();
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))?;
    let quit = Arc::new(Notify::new());
    let app = App {
        daemon,
        quit: Arc::clone(&quit),
    };
    let router = Router::new()
        .route("/v1/version", get(version))
        .route("/v1/doctor", get(doctor::doctor))
        .route("/v1/shutdown", post(shutdown))
        .route("/v1/stacks", get(stacks::list))
        .route("/v1/stacks/{name}", put(stacks::up).get(stacks::spec))
        .route("/v1/stacks/{name}/containers", get(stacks::containers))
        .route("/v1/stacks/{name}/plan", post(stacks::plan))
        .route("/v1/stacks/{name}/history", get(history::history))
        .route("/v1/stacks/{name}/rollback", post(history::rollback))
        .route("/v1/stacks/{name}/rollback/plan", post(history::plan))
        .route("/v1/stacks/{name}/down", post(stacks::down))
        .route("/v1/stacks/{name}/action", post(stacks::action))
        .route("/v1/stacks/{name}/logs", get(logs::logs))
        .route("/v1/stacks/{name}/events", get(events::events))
        .route("/v1/stacks/{name}/exec", post(exec::exec))
        .route("/v1/stacks/{name}/net", get(networks::stats))
        .route("/v1/stacks/{name}/capture", get(networks::capture))
        .route("/v1/volumes", get(volumes::list).post(volumes::create))
        .route("/v1/volumes/{name}", axum::routing::delete(volumes::remove))
        .route("/v1/volumes/prune", post(volumes::prune))
        .route(
            "/v1/volumes/{name}/archive",
            get(volumes::export).put(volumes::import),
        )
        .route("/v1/networks", get(networks::list).post(networks::create))
        .route("/v1/networks/{name}/connect", post(networks::connect))
        .route("/v1/networks/{name}/disconnect", post(networks::disconnect))
        .route("/v1/networks/prune", post(networks::prune))
        .route(
            "/v1/networks/{name}",
            get(networks::inspect).delete(networks::remove),
        )
        .route("/v1/stacks/{name}/run", post(run::run))
        .route("/v1/stacks/{name}/debug", get(debug::debug))
        .route("/v1/stacks/{name}/stats", get(stats::stats))
        .route("/v1/stacks/{name}/processes", get(stats::processes))
        .route("/v1/stacks/{name}/wait", get(wait::wait))
        .route(
            "/v1/stacks/{name}/archive",
            get(archive::get).put(archive::put),
        )
        .route("/v1/stacks/{name}/build", post(build::build))
        .route("/v1/builder/prune", post(build::prune))
        .route("/v1/stacks/{name}/attach", post(attach::attach))
        .route("/v1/images", get(images::list))
        .route("/v1/stacks/{name}/commit", post(images::commit))
        .route("/v1/images/all", get(images::all))
        .route("/v1/images/find", get(images::find))
        .route("/v1/images/tag", post(images::tag))
        .route("/v1/images/remove", post(images::remove))
        .route("/v1/images/prune", post(images::prune))
        .route("/v1/images/save", get(images::save))
        .route("/v1/images/push", post(images::push))
        .route("/v1/system/usage", get(system::usage))
        .route("/v1/system/prune", post(system::prune))
        .route("/v1/images/load", post(images::load))
        .route("/v1/images/pull", post(images::pull))
        .route("/v1/images/resolve", post(images::resolve))
        .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
        .with_state(app);
    tokio::select! {
        result = axum::serve(listener, router) => result,
        () = quit.notified() => Ok(()),
    }
}

async fn version() -> axum::Json<Version> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    axum::Json(Version {
        version,
        api: 1,
        pid: std::process::id(),
        settings: Some(stack_api::settings::own()),
    })
}

async fn shutdown(State(app): State<App>) {
    app.quit.notify_one();
}
