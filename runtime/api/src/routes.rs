//! The routes, as both sides write them.
//!
//! | Method and path | Body or query | Answer |
//! |---|---|---|
//! | `GET /v1/version` | | [`Version`](crate::request::Version) |
//! | `GET /v1/doctor` | | list of [`Check`](crate::request::Check) |
//! | `GET /v1/stacks` | | list of [`StackInfo`](crate::request::StackInfo) |
//! | `PUT /v1/stacks/{name}` | [`Up`](crate::request::Up) | events |
//! | `POST /v1/stacks/{name}/plan` | [`Up`](crate::request::Up) | `stack_planner::plan::Plan`: what `up` would do |
//! | `GET /v1/stacks/{name}` | | [`StackSpec`](crate::spec::StackSpec) last applied, or 404 |
//! | `GET /v1/stacks/{name}/containers` | | list of [`Container`](crate::container::Container) |
//! | `GET /v1/stacks/{name}/history` | | list of [`Entry`](crate::history::Entry) |
//! | `POST /v1/stacks/{name}/rollback` | [`Rollback`](crate::history::Rollback) | events |
//! | `POST /v1/stacks/{name}/rollback/plan` | [`Rollback`](crate::history::Rollback) | the plan |
//! | `POST /v1/stacks/{name}/down` | [`Down`](crate::request::Down) | events |
//! | `POST /v1/stacks/{name}/action` | [`Action`](crate::request::Action) | events |
//! | `GET /v1/stacks/{name}/logs` | [`LogQuery`](crate::request::LogQuery) | log lines |
//! | `GET /v1/stacks/{name}/events` | [`EventQuery`](crate::journal::EventQuery) | list of [`Happening`](crate::journal::Happening), one per line |
//! | `POST /v1/stacks/{name}/exec` | [`ExecRequest`](crate::request::ExecRequest) | upgrade |
//! | `POST /v1/stacks/{name}/run` | [`Run`](crate::run::Run) | events |
//! | `POST /v1/stacks/{name}/attach` | [`Attach`](crate::run::Attach) | upgrade |
//! | `GET /v1/stacks/{name}/debug` | | list of [`Debug`](crate::debug::Debug) |
//! | `GET /v1/stacks/{name}/stats` | [`Chosen`](crate::look::Chosen) | list of [`Usage`](crate::look::Usage) |
//! | `GET /v1/stacks/{name}/processes` | [`Chosen`](crate::look::Chosen) | list of [`Processes`](crate::look::Processes) |
//! | `GET /v1/stacks/{name}/wait` | [`Chosen`](crate::look::Chosen) | an [`Ended`](crate::look::Ended) per container, as they end, one per line |
//! | `GET /v1/stacks/{name}/archive` | [`Archive`](crate::look::Archive) | a tar stream |
//! | `PUT /v1/stacks/{name}/archive` | [`Archive`](crate::look::Archive), a tar stream | 200 |
//! | `GET /v1/images` | | list of [`ImageInfo`](crate::request::ImageInfo) |
//! | `GET /v1/images/all` | | list of [`Details`](crate::image::Details) |
//! | `GET /v1/images/find` | [`Find`](crate::image::Find) | its [`Details::reference`](crate::image::Details::reference) |
//! | `POST /v1/images/tag` | [`Tag`](crate::image::Tag) | the new name in full |
//! | `POST /v1/images/remove` | [`Remove`](crate::image::Remove) | [`Removed`](crate::image::Removed) |
//! | `POST /v1/images/prune` | [`Prune`](crate::image::Prune) | [`Removed`](crate::image::Removed) |
//! | `GET /v1/images/save` | [`Save`](crate::image::Save) | a tar stream |
//! | `POST /v1/images/push` | [`Push`](crate::image::Push) | events |
//! | `POST /v1/stacks/{name}/commit` | [`Commit`](crate::image::Commit) | [`Committed`](crate::image::Committed) |
//! | `GET /v1/system/usage` | | list of [`Usage`](crate::system::Usage) |
//! | `POST /v1/system/prune` | [`Prune`](crate::system::Prune) | [`Pruned`](crate::system::Pruned) |
//! | `POST /v1/images/load` | [`Load`](crate::request::Load) | events |
//! | `POST /v1/images/pull` | [`Pull`](crate::request::Pull) | events |
//! | `POST /v1/images/resolve` | [`Resolve`](crate::request::Resolve) | list of [`Resolved`](crate::request::Resolved) |
//! | `GET /v1/stacks/{name}/net` | | [`NetStats`](crate::network::NetStats) |
//! | `GET /v1/stacks/{name}/capture` | [`CaptureQuery`](crate::network::CaptureQuery) | pcapng |
//! | `GET /v1/networks` | | list of [`NetworkInfo`](crate::network::NetworkInfo) |
//! | `POST /v1/networks` | [`NetworkSpec`](crate::spec::NetworkSpec) | [`NetworkInfo`](crate::network::NetworkInfo) |
//! | `GET /v1/networks/{name}` | | [`NetworkInfo`](crate::network::NetworkInfo) |
//! | `DELETE /v1/networks/{name}` | | nothing |
//! | `POST /v1/networks/{name}/connect` | [`Connect`](crate::network::Connect) | events |
//! | `POST /v1/networks/{name}/disconnect` | [`Disconnect`](crate::network::Disconnect) | events |
//! | `POST /v1/networks/prune` | | list of names that were removed |
//! | `GET /v1/volumes` | query [`Volumes`](crate::volume::Volumes) | list of [`VolumeInfo`](crate::volume::VolumeInfo) |
//! | `POST /v1/volumes` | [`CreateVolume`](crate::volume::CreateVolume) | [`VolumeInfo`](crate::volume::VolumeInfo) |
//! | `DELETE /v1/volumes/{name}` | | nothing |
//! | `POST /v1/volumes/prune` | [`PruneVolumes`](crate::volume::PruneVolumes) | list of [`VolumeInfo`](crate::volume::VolumeInfo) that were removed |
//! | `GET /v1/volumes/{name}/archive` | | the volume's files as a tar stream |
//! | `PUT /v1/volumes/{name}/archive` | tar stream | nothing |
//! | `POST /v1/shutdown` | | 200; VMs go on |
//!
//! A call that answers with events is cancelled when the client closes the
//! connection: what was half-made is finished or undone, never left.

use std::path::PathBuf;

/// The daemon's socket: `$STACK_HOME/run/stackd.sock`, else
/// `$XDG_RUNTIME_DIR/stack/stackd.sock`, else `/tmp/stack-<uid>/stackd.sock`.
pub fn socket_path(uid: u32) -> PathBuf {
    let set = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    if let Some(home) = set("STACK_HOME") {
        return home.join("run/stackd.sock");
    }
    match set("XDG_RUNTIME_DIR") {
        Some(dir) => dir.join("stack/stackd.sock"),
        None => PathBuf::from(format!("/tmp/stack-{uid}/stackd.sock")),
    }
}
