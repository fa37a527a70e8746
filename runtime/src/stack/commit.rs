//! `commit`: a new image from what a container has changed of its own.

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use stack_api::container::State;
use stack_api::event::ApiError;
use stack_api::image::{Commit, Committed};
use stack_api::spec::ServiceSpec;
use stack_images::{Change, ImageHealthcheck, Spool};
use stack_protocol::config::{Builtin, Exec};
use stack_protocol::message::{Command, Outcome};
use stack_vmm::Agent;

use super::images::error;
use crate::container::aside::Aside;
use crate::container::{Handle, vm_error};
use crate::daemon::Daemon;
use crate::space::Lease;

/// Bytes of an error message that are kept.
const MESSAGE: usize = 4 << 10;

/// What vminit makes mount points of.
const PLACES: [&str; 7] = [
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/mtab",
    "/etc/resolv.conf",
];

/// `POST /v1/stacks/{name}/commit`. A container that does not run gets a VM
/// for the time.
///
/// # Errors
/// There is no such container, a change is none, or its image was removed.
pub async fn commit(
    daemon: Arc<Daemon>,
    project: String,
    order: Commit,
) -> Result<Committed, ApiError> {
    if let Some(name) = &order.name {
        stack_images::full_name(name).map_err(error)?;
    }
    let handle = find(&daemon, &project, &order)?;
    let record = handle.record();
    let env = &record.blueprint.config.process.env;
    let asked = stack_images::parse_changes(&order.changes, env);
    let mut changes = as_it_runs(&record.spec, &record.blueprint.config.process.args);
    changes.extend(asked.map_err(|why| ApiError::new("bad_change", why))?);
    let container = record.container;
    let _image = Lease::new(&daemon, std::iter::once(&container.image_id)).await?;
    let mut spool = daemon.images.spool().map_err(error)?;
    take(&daemon, &handle, order.pause, &mut spool).await?;
    let made = stack_images::Commit {
        base: container.image_id.clone(),
        name: order.name.clone(),
        author: order.author.clone(),
        message: order.message.clone(),
        created: order.created.clone(),
        made_by: container.command.clone(),
        changes,
    };
    let image = daemon.images.commit(&made, spool).await.map_err(error)?;
    Ok(Committed {
        id: image.id,
        reference: image.reference,
    })
}

fn find(daemon: &Daemon, project: &str, order: &Commit) -> Result<Arc<Handle>, ApiError> {
    let all = daemon.replicas(project);
    let mut fits = all.into_iter().filter(|handle| {
        let container = handle.container();
        container.service == order.service && order.index.is_none_or(|n| n == container.number)
    });
    fits.next().ok_or_else(|| {
        let message = format!("service {} has no container", order.service);
        ApiError::new("no_such_service", message).help("create it with `stack create`")
    })
}

/// What its definition gives a container beside the image: as with Docker, it is the
/// new image's own. `args`: what was run.
fn as_it_runs(spec: &ServiceSpec, args: &[String]) -> Vec<Change> {
    let mut changes = Vec::new();
    match (&spec.entrypoint, &spec.command) {
        (Some(entrypoint), _) => {
            changes.push(Change::Entrypoint(entrypoint.clone()));
            // Also the image's, which an entrypoint without words leaves.
            let rest = args.get(entrypoint.len()..).unwrap_or_default();
            changes.extend((!rest.is_empty()).then(|| Change::Cmd(rest.to_vec())));
        }
        (None, Some(command)) => changes.push(Change::Cmd(command.clone())),
        (None, None) => {}
    }
    let unset = spec.environment_unset.iter().cloned();
    changes.extend(unset.map(Change::Unset));
    let env = spec.environment.clone().into_iter();
    changes.extend(env.map(|(name, value)| Change::Env(name, value)));
    changes.extend(spec.user.clone().map(Change::User));
    changes.extend(spec.working_dir.clone().map(Change::WorkingDir));
    changes.extend(spec.stop_signal.clone().map(Change::StopSignal));
    let labels = spec.labels.clone().into_iter();
    changes.extend(labels.map(|(name, value)| Change::Label(name, value)));
    changes.extend(spec.ports.iter().map(|port| {
        let protocol = if port.udp { "udp" } else { "tcp" };
        Change::Expose(format!("{}/{protocol}", port.target))
    }));
    changes.extend(spec.healthcheck.as_ref().map(|check| match check.disable {
        true => Change::NoHealthcheck,
        false => Change::Healthcheck(ImageHealthcheck {
            test: check.test.clone().unwrap_or_default(),
            interval_ms: check.interval_ms.unwrap_or(0),
            timeout_ms: check.timeout_ms.unwrap_or(0),
            retries: check.retries.unwrap_or(0),
            start_period_ms: check.start_period_ms.unwrap_or(0),
            start_interval_ms: check.start_interval_ms.unwrap_or(0),
        }),
    }));
    changes
}

/// A file of the image store's cannot be written.
pub(super) fn unwritten(what: &str, error: &std::io::Error) -> ApiError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            let message = format!("{what} cannot be written: the disk with the images is full");
            ApiError::new("disk_full", message)
                .help("free some space, then run the command again; `stack doctor` shows where")
        }
        _ => ApiError::new("images", format!("{what} cannot be written: {error}")),
    }
}

/// Has the changes written to the file.
async fn take(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    pause: bool,
    spool: &mut Spool,
) -> Result<(), ApiError> {
    let config = handle.record().blueprint.config;
    let mounts = config.mounts.iter().map(|mount| mount.target.clone());
    let files = config.files.iter().map(|file| file.path.clone());
    let own = PLACES.map(str::to_owned).into_iter();
    let places: Vec<String> = own.chain(mounts).chain(files).collect();
    if handle.record().rests() || handle.answering().await.is_none() {
        let record = handle.record();
        if record.container.state.is_live() && !record.rests() {
            return Err(handle.silent());
        }
        let aside = Aside::open(daemon, handle).await?;
        let result = receive(aside.agent(), places, spool).await;
        // It was read only.
        let _ = aside.close().await;
        return result;
    }
    // Nobody else pauses it, lets it go on or ends it meanwhile.
    let turn = daemon.operation(&handle.container().project);
    let _one = turn.lock().await;
    let own = handle.agent.borrow().clone();
    let Some(agent) = own else {
        let message = format!("{} was stopped meanwhile", handle.container().name);
        return Err(ApiError::new("not_running", message).help("try again"));
    };
    let pause = pause && handle.container().state != State::Paused;
    if pause {
        freeze(&agent, true).await?;
    }
    let result = receive(&agent, places, spool).await;
    if pause {
        // It may have been stopped meanwhile.
        let thawed = freeze(&agent, false).await;
        if handle.container().state.is_live() {
            thawed?;
        }
    }
    result
}

async fn freeze(agent: &Agent, frozen: bool) -> Result<(), ApiError> {
    let done = agent.request(Command::Freeze { frozen }).await;
    match done.map_err(vm_error)? {
        Outcome::Error { message, .. } => Err(ApiError::new("not_running", message)),
        _ => Ok(()),
    }
}

async fn receive(agent: &Agent, places: Vec<String>, spool: &mut Spool) -> Result<(), ApiError> {
    let exec = Exec {
        cwd: "/".to_owned(),
        privileged: true,
        builtin: Some(Builtin::Changes { places }),
        ..Exec::default()
    };
    let mut session = agent.exec(exec).await.map_err(vm_error)?;
    let mut message = Vec::new();
    let mut written = Ok(());
    while let Some((stream, data)) = session.output.recv().await {
        if stream == 2 {
            message.extend(data.into_iter().take(MESSAGE - message.len()));
        } else if written.is_ok() {
            written = spool.write_all(&data);
            if written.is_err() {
                session.signal(libc::SIGKILL).await;
            }
        }
    }
    let exit = session.exit().await;
    written.map_err(|error| unwritten("the new layer", &error))?;
    match exit.code {
        0 => Ok(()),
        _ => {
            let text = String::from_utf8_lossy(&message);
            let why = format!("its changes cannot be read: {}", text.trim());
            Err(ApiError::new("copy_failed", why))
        }
    }
}

#[cfg(test)]
mod tests {
    use stack_api::spec::{HealthCheckSpec, PortSpec};

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_definition_of_a_container_is_in_its_image() {
        let spec = ServiceSpec {
            command: Some(words("serve now")),
            environment: [("A".to_owned(), "1".to_owned())].into(),
            environment_unset: ["B".to_owned()].into(),
            user: Some("5".to_owned()),
            labels: [("l".to_owned(), "v".to_owned())].into(),
            ports: vec![PortSpec {
                target: 53,
                udp: true,
                ..PortSpec::default()
            }],
            healthcheck: Some(HealthCheckSpec {
                retries: Some(7),
                ..HealthCheckSpec::default()
            }),
            ..ServiceSpec::default()
        };
        let check = ImageHealthcheck {
            retries: 7,
            ..ImageHealthcheck::default()
        };
        assert_eq!(
            as_it_runs(&spec, &words("/entry serve now")),
            [
                Change::Cmd(words("serve now")),
                Change::Unset("B".into()),
                Change::Env("A".into(), "1".into()),
                Change::User("5".into()),
                Change::Label("l".into(), "v".into()),
                Change::Expose("53/udp".into()),
                Change::Healthcheck(check),
            ]
        );
        assert!(as_it_runs(&ServiceSpec::default(), &words("/entry x")).is_empty());
    }

    #[test]
    fn an_entrypoint_keeps_what_was_run_after_it() {
        let run = |entrypoint: &str, args: &str| {
            let spec = ServiceSpec {
                entrypoint: Some(words(entrypoint)),
                ..ServiceSpec::default()
            };
            as_it_runs(&spec, &words(args))
        };
        let entry = |text: &str| Change::Entrypoint(words(text));
        assert_eq!(run("/own a", "/own a"), [entry("/own a")]);
        // The image's own command.
        assert_eq!(run("", "serve"), [entry(""), Change::Cmd(words("serve"))]);
    }
}
