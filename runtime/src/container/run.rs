//! One run of a container: from nothing to a configured VM, through its
//! life, to nothing again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stack_api::container::{Container, Health, State};
use stack_api::event::ApiError;
use stack_protocol::config::VmConfig;
use stack_protocol::message::{Command, Outcome};
use stack_vmm::{Agent, AgentEvent, Backend, Disk, GuestHello, Process, VmSpec};
use tokio::sync::mpsc;

use super::attend::{also, api_health, attend, is_halted, note_halt, write_out};
use super::shutdown::{self, WRITES_LONGEST, had_ended, kill, shut_down};
use super::{Cards, Handle, Record, Wish, console, vm_error};
use crate::daemon::{Daemon, SCRATCH_SIZE};
use crate::logs::{Limits, Writer};
use crate::time::{now_ms, now_ns};

/// Boot and first answer, at most (emulation on a loaded machine).
pub(super) const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// A service that is to be stopped may be running in a VM that is taken over:
/// it is asked before it is killed.
pub(super) const TAKES_OVER: Option<Duration> = Some(Duration::from_secs(10));
/// A VM that boots has nothing to lose.
const AT_ONCE: Option<Duration> = None;
/// Pause before the log of a VM that runs is opened again.
const AGAIN: Duration = Duration::from_secs(1);

/// Network devices for networks that a service joins while it runs. One is
/// enough for a change of networks, for those that it leaves are free then.
const SPARE: usize = 1;

/// The exit code of a container whose program was not reached.
pub const NEVER_RAN: i32 = 128;

/// The exit code of a service whose VM was ended.
const KILLED: i32 = 137;

/// What is said of a start that nobody wants any more.
const CALLED_OFF: &str = "cancelled";

/// What is said of a VM that ended by itself.
const VM_FAILED: &str = "vm_failed";

/// How a run ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// The service's process was started.
    pub ran: bool,
    /// As a shell shows it.
    pub code: i32,
    /// For the user.
    pub error: Option<String>,
    /// The stable word of what kept its service from running.
    pub error_code: Option<String>,
    /// Out of memory.
    pub oom: bool,
    /// Its VM did not come up because of the host, where things may be better
    /// soon.
    pub of_the_host: bool,
    /// It was stopped before its service had begun.
    pub called_off: bool,
    /// Its service ran when no daemon did, and how it ended there is not known: it may
    /// have been the host's end.
    pub unseen: bool,
}

/// Errors that the host is to blame for, and nothing that anybody wrote.
const OF_THE_HOST: [&str; 8] = [
    "boot_timeout",
    "disk_full",
    "io",
    "log",
    "memory",
    "not_running",
    "run_dir",
    VM_FAILED,
];

impl Ended {
    pub(super) fn failed(error: &ApiError) -> Ended {
        let told = match &error.help {
            Some(help) => format!("{} ({help})", error.message),
            None => error.message.clone(),
        };
        Ended {
            ran: false,
            code: NEVER_RAN,
            error: Some(told),
            error_code: Some(error.code.clone()),
            oom: false,
            of_the_host: OF_THE_HOST.contains(&error.code.as_str()),
            called_off: error.code == CALLED_OFF,
            unseen: false,
        }
    }

    /// Its service ran, and it could not be taken over: the restart policy
    /// decides.
    fn lost(error: &ApiError) -> Ended {
        Ended {
            ran: true,
            code: KILLED,
            error_code: None,
            called_off: false,
            unseen: true,
            ..Ended::failed(error)
        }
    }
}

/// A VM that answers.
pub(super) struct Vm {
    pub process: Process,
    pub agent: Agent,
    pub events: mpsc::Receiver<AgentEvent>,
}

/// Runs the container once. `adopt`: its VM may be there already.
pub(super) async fn once(daemon: &Arc<Daemon>, handle: &Arc<Handle>, adopt: bool) -> Ended {
    let known = match adopt {
        true => running(daemon, handle).await,
        false => None,
    };
    let had_ended = had_ended(&handle.container()).filter(|_| adopt);
    if adopt && known.is_none() {
        daemon.forget_endpoints(handle).await;
        return had_ended.unwrap_or_else(|| lost(&handle.record().container.name));
    }
    let mut writer = match open_log(daemon, handle, known.as_ref()).await {
        Ok(writer) => writer.waiting_for(&handle.readers),
        Err(error) if known.is_none() => return Ended::failed(&error),
        Err(error) => {
            daemon.forget_endpoints(handle).await;
            return had_ended.unwrap_or_else(|| Ended::lost(&error));
        }
    };
    let brought_up = match known {
        Some(process) if had_ended.is_some() => {
            let patience = Some(WRITES_LONGEST);
            connect_or_end(daemon, handle, process, writer.stored(), patience).await
        }
        Some(process) => connect_or_end(daemon, handle, process, writer.stored(), TAKES_OVER).await,
        None => boot(daemon, handle).await,
    };
    let (mut vm, hello) = match brought_up {
        Ok(vm) => vm,
        Err(error) => {
            daemon.forget_endpoints(handle).await;
            handle.update(|record| record.process = None);
            return match had_ended {
                // It was done with its end, or was not let.
                Some(mut ended) => {
                    if error.code != VM_FAILED {
                        also(&mut ended.error, shutdown::CUT.to_owned());
                    }
                    ended
                }
                None if adopt => Ended::lost(&error),
                None => Ended::failed(&error),
            };
        }
    };
    let mut ended = match configure(daemon, handle, &mut vm, &hello).await {
        Ok(()) => {
            handle.agent.send_replace(Some(vm.agent.clone()));
            let ended = attend(daemon, handle, &mut vm, &mut writer).await;
            handle.agent.send_replace(None);
            ended
        }
        Err(ended) => ended,
    };
    write_out(handle, &vm, &mut writer, &mut ended).await;
    // Whoever waits for its end need not wait for the VM's.
    handle.update(|record| {
        record.container.state = State::Stopping;
        if !ended.called_off {
            record.container.exit_code = Some(ended.code);
            record.container.error.clone_from(&ended.error);
            record.container.error_code.clone_from(&ended.error_code);
        }
    });
    let dir = daemon.paths.vm(&handle.id);
    let (process, agent, halted) = (&vm.process, &vm.agent, || is_halted(handle));
    let by_itself = !daemon.backend.alive(process);
    let limit = shutdown::patience(handle);
    let lost = tokio::select! {
        lost = shut_down(daemon, process, agent, halted, limit) => lost,
        // What it writes now may be what the disk has no room for.
        () = stack_vmm::outlast_full_disk(&dir, |now| note_halt(handle, now)) => None,
    };
    match by_itself || lost.is_some() {
        true => console::keep(&daemon.paths, &handle.id),
        false => console::forget(&daemon.paths, &handle.id),
    }
    if let Some(lost) = lost.filter(|_| ended.ran) {
        also(&mut ended.error, lost);
    }
    daemon.forget_endpoints(handle).await;
    let _ = std::fs::remove_dir_all(dir);
    ended
}

/// The container's VM, if it runs. Where it cannot be seen, it is looked again: a
/// second one must not be started beside it.
async fn running(daemon: &Daemon, handle: &Handle) -> Option<Process> {
    let recorded = handle.record().process;
    if let Some(process) = recorded.filter(|process| daemon.backend.alive(process)) {
        return Some(process);
    }
    // One that was started when nothing could be recorded.
    let found = stack_vmm::surely_leftover(&daemon.paths.vm(&handle.id)).await;
    found.filter(|process| daemon.backend.alive(process))
}

/// Opens the log. A VM that runs is not ended for want of one: that is tried
/// again as long as it lives, and whoever wants it stopped gets that.
///
/// # Errors
/// It cannot be opened, and there is no VM any more.
async fn open_log(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    running: Option<&Process>,
) -> Result<Writer, ApiError> {
    let log = daemon.paths.log(&handle.id);
    let off = called_off(handle, TAKES_OVER);
    tokio::pin!(off);
    loop {
        let limits = Limits::from(&handle.record().spec.logging);
        let error = match Writer::open(&log, limits, running.is_some()) {
            Ok(writer) => return Ok(writer),
            Err(error) => error,
        };
        tracing::error!(%error, container = handle.id, "the log cannot be opened");
        let error = ApiError::new("log", format!("cannot write the log: {error}"))
            .help("is the disk full?");
        let Some(process) = running else {
            return Err(error);
        };
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = daemon.backend.wait(process) => return Err(error),
            () = &mut off => {
                kill(daemon, process).await;
                return Err(error);
            }
        }
    }
}

fn lost(name: &str) -> Ended {
    Ended {
        ran: true,
        code: KILLED,
        error: Some(format!(
            "the VM of {name} ended while stackd was not running"
        )),
        unseen: true,
        ..Ended::default()
    }
}

async fn boot(daemon: &Arc<Daemon>, handle: &Arc<Handle>) -> Result<(Vm, GuestHello), ApiError> {
    // Until it is seen that this VM has them.
    let disks = tokio::select! {
        biased;
        disks = handle.disks.lock() => disks,
        () = called_off(handle, AT_ONCE) => {
            return Err(ApiError::new(CALLED_OFF, "stopped while its files were copied"));
        }
    };
    let turns = daemon.volume_turns(&handle.record().blueprint).await?;
    // The network daemon has to know it as long as this VM runs.
    let transport = daemon.backend.transport().await;
    handle.update(|record| {
        record.transport = transport;
        crate::volume::convert::follow(&mut record.blueprint);
        crate::stack::drop_unplugged(record);
    });
    let room = daemon.backend.devices().await;
    handle.update(|record| {
        let blueprint = &record.blueprint;
        let wired = record.nics.len();
        let used = wired + blueprint.disks.len() + usize::from(!blueprint.files.is_empty());
        let spare = room.saturating_sub(used).min(SPARE);
        record.cards = Some(Cards { wired, spare });
    });
    let record = handle.record();
    let dir = daemon.paths.vm(&handle.id);
    let _ = std::fs::remove_dir_all(&dir);
    crate::paths::private_dir(&dir)
        .map_err(|error| ApiError::new("run_dir", format!("{}: {error}", dir.display())))?;
    let ports = daemon.announce_endpoints(handle).await?;
    let spec = machine(daemon, &record, dir).await?;
    let began = Instant::now();
    let process = match daemon.backend.start(&spec).await {
        Ok(process) => process,
        Err(error) => {
            if spec.files.is_some() {
                daemon.close_files(&handle.id).await;
            }
            return Err(vm_error(error));
        }
    };
    tracing::debug!(name = spec.name, took = ?began.elapsed(), "the VM's process runs");
    handle.update(|record| {
        record.process = Some(process.clone());
        record.container.pid = Some(process.pid);
        record.container.ports = ports;
        record.container.cpus = spec.cpus;
        record.container.state = State::Starting;
        record.container.next_start_ms = None;
        let code = record.container.exit_code.take();
        record.exit_before = code.or(record.exit_before);
    });
    drop((turns, disks));
    // Nothing of the service runs in it, so nothing is lost.
    let connected = connect_or_end(daemon, handle, process, 0, AT_ONCE).await;
    tracing::debug!(name = spec.name, took = ?began.elapsed(), "its agent has answered");
    connected
}

/// The machine of a container, with its files in `dir`.
pub(super) async fn machine(
    daemon: &Arc<Daemon>,
    record: &Record,
    dir: PathBuf,
) -> Result<VmSpec, ApiError> {
    let scratch = daemon.paths.scratch(&record.container.id);
    if !scratch.exists() {
        let size = record.spec.root_size.unwrap_or(SCRATCH_SIZE);
        // Whole blocks of any size.
        let size = size.next_multiple_of(1 << 16);
        stack_vmm::disk::create_scratch(&scratch, size).map_err(vm_error)?;
    }
    let blueprint = &record.blueprint;
    let spare = record.cards.map_or(0, |cards| cards.spare);
    let spare = record.nics.len()..record.nics.len() + spare;
    let files = daemon
        .open_files(&record.container.id, &dir, &blueprint.files)
        .await?;
    Ok(VmSpec {
        nics: record
            .nics
            .iter()
            .enumerate()
            .map(|(n, nic)| stack_vmm::Nic {
                mac: nic.mac.clone(),
                transport: record.transport,
                local: dir.join(format!("n{n}.q")),
                remote: dir.join(format!("n{n}.d")),
            })
            .chain(spare.map(|n| stack_vmm::Nic {
                mac: stack_protocol::template::hardware_address(n),
                transport: stack_vmm::Transport::Datagram,
                local: dir.join(format!("n{n}.q")),
                remote: dir.join(format!("n{n}.d")),
            }))
            .collect(),
        dir,
        kernel: match &blueprint.kernel {
            Some(kernel) => kernel.clone(),
            None => daemon.assets.kernel.clone(),
        },
        initramfs: daemon.assets.initramfs.clone(),
        memory: blueprint.memory,
        cpus: match blueprint.cpus {
            Some(cpus) => cpus,
            None => {
                let most = match blueprint.affinity.len() {
                    0 => u32::MAX,
                    processors => processors as u32,
                };
                daemon.backend.default_cpus().await.min(most)
            }
        },
        disks: blueprint
            .disks
            .iter()
            .map(|disk| Disk {
                path: disk.path.clone(),
                serial: disk.serial.clone(),
                // The mounts are read-only all the same.
                read_only: disk.read_only && !stack_vmm::disk::needs_recovery(&disk.path),
            })
            .collect(),
        files,
        rates: blueprint.rates,
        affinity: blueprint.affinity.clone(),
        name: record.container.name.clone(),
        template: daemon.assets.templates && !blueprint.boots,
    })
}

/// A VM whose agent cannot be had does not stay.
async fn connect_or_end(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    process: Process,
    log_sequence: u64,
    patience: Option<Duration>,
) -> Result<(Vm, GuestHello), ApiError> {
    let halted = AtomicBool::new(false);
    let dir = daemon.paths.vm(&handle.id);
    // A halted VM does not answer, and does not go on unless it is told.
    let room = stack_vmm::outlast_full_disk(&dir, |now| {
        halted.store(now, Ordering::Relaxed);
        note_halt(handle, now);
    });
    // One that writes what its service has left does not answer, either.
    let ends = had_ended(&handle.container()).is_some();
    let began = Instant::now();
    let is_silent = || halted.load(Ordering::Relaxed) || ends && began.elapsed() < WRITES_LONGEST;
    let connected = tokio::select! {
        connected = connect(daemon, handle, process.clone(), log_sequence, patience, &is_silent) => {
            connected
        }
        () = room => Err(ApiError::new("internal", "the VM's monitor is not listened to")),
    };
    if connected.is_err() {
        // Nobody can ask it to end.
        kill(daemon, &process).await;
    }
    connected
}

/// The conversation with a VM's agent. `patience`: as of [`called_off`];
/// `is_silent`: there is a reason for it not to answer.
pub(super) async fn connect(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    process: Process,
    log_sequence: u64,
    patience: Option<Duration>,
    is_silent: &(dyn Fn() -> bool + Sync),
) -> Result<(Vm, GuestHello), ApiError> {
    let limit = async {
        tokio::time::sleep(BOOT_LIMIT).await;
        while is_silent() {
            tokio::time::sleep(BOOT_LIMIT).await;
        }
    };
    let socket = daemon.paths.vm(&handle.id).join("agent.sock");
    let attempt = async {
        loop {
            match Agent::connect(&socket, log_sequence).await {
                Ok(connected) => return connected,
                Err(error) => tracing::debug!(%error, "agent not there yet"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        (agent, hello, events) = attempt => {
            Ok((Vm { process, agent, events }, hello))
        }
        () = called_off(handle, patience) => {
            Err(ApiError::new(CALLED_OFF, "stopped while its VM was booting"))
        }
        () = daemon.backend.wait(&process) => {
            let dir = daemon.paths.vm(&handle.id);
            let why = stack_vmm::last_words(&dir);
            Err(ApiError::new(VM_FAILED, format!("the VM ended while it was booting: {why}")))
        }
        () = limit => {
            let why = stack_vmm::last_words(&daemon.paths.vm(&handle.id));
            Err(ApiError::new(
                "boot_timeout",
                format!("the VM did not answer within {} s: {why}", BOOT_LIMIT.as_secs()),
            ))
        }
    }
}

/// Ends when nobody wants the VM any more, and the grace period is over: where
/// there is one, it is at least so long. `None`: it does not count.
async fn called_off(handle: &Handle, at_least: Option<Duration>) {
    outlived(handle, |wish| match wish {
        Wish::Run(_) => None,
        Wish::Stop { grace_ms: 0, .. } | Wish::Gone => Some(Duration::ZERO),
        Wish::Stop { grace_ms, .. } => Some(at_least.map_or(Duration::ZERO, |at_least| {
            Duration::from_millis(*grace_ms).max(at_least)
        })),
    })
    .await;
}

/// Ends when a wish has been there for the time that it gives.
pub(super) async fn outlived(handle: &Handle, gives: impl Fn(&Wish) -> Option<Duration>) {
    let mut wish = handle.wish.subscribe();
    loop {
        let time = gives(&wish.borrow_and_update());
        let over = async {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = over => return,
            changed = wish.changed() => if changed.is_err() { return },
        }
    }
}

/// Its service runs anew: how an earlier run ended is over.
fn has_begun(container: &mut Container) {
    container.started_ms = Some(now_ms());
    container.finished_ms = None;
    container.exit_code = None;
    container.error = None;
    container.error_code = None;
    container.oom = false;
}

/// Its volumes have what its image has for them. If it cannot be noted, a later machine
/// looks whether it is so.
fn note_filled(daemon: &Daemon, handle: &Handle) {
    if let Err(error) = daemon.note_filled(&handle.record().blueprint) {
        tracing::warn!(%error, container = handle.id, "a filled volume is not noted");
    }
}

/// Makes the VM this container's; a VM that was taken over already is.
async fn configure(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    vm: &mut Vm,
    hello: &GuestHello,
) -> Result<(), Ended> {
    handle.update(|record| {
        record.container.boot_id = Some(hello.boot_id.clone());
        record.container.pid = Some(vm.process.pid);
        record.process = Some(vm.process.clone());
    });
    if hello.configured {
        if handle.container().state != State::Paused {
            // Whoever froze it for a moment (`commit`) may have been killed. The
            // answer is not waited for: it comes after output that was held for
            // this daemon, which nobody takes before `attend`.
            let thawed = vm.agent.notify(Command::Freeze { frozen: false }).await;
            if let Err(error) = thawed {
                tracing::warn!(%error, container = handle.id, "not thawed");
            }
        }
        handle.update(|record| {
            let container = &mut record.container;
            let hooked = !record.spec.hooks.post_start.is_empty();
            // Its first commands were cut off: they are run again.
            let begins = hooked && container.state == State::Starting;
            // The hooks of its stop have been begun: they are not run again.
            let ends = !record.wanted && container.state == State::Stopping;
            if !begins && !ends && container.state != State::Paused {
                container.state = State::Running;
            }
            // The daemon that set it up could not note it any more.
            if container.started_ms.is_none() || container.finished_ms.is_some() {
                has_begun(container);
            }
            container.health = api_health(hello.health);
        });
        note_filled(daemon, handle);
        return Ok(());
    }
    let record = handle.record();
    let config = VmConfig {
        time_ns: now_ns(),
        devices: record.cards.map_or(0, |c| (c.wired + c.spare) as u32),
        ..record.blueprint.config.clone()
    };
    let has_check = config.healthcheck.is_some();
    let began = Instant::now();
    let dir = daemon.paths.vm(&handle.id);
    // It may take long, and all the room there is: what an image has for a volume
    // is copied.
    let answer = tokio::select! {
        answer = vm.agent.request(Command::Configure(Box::new(config))) => answer,
        () = stack_vmm::outlast_full_disk(&dir, |now| note_halt(handle, now)) => {
            Err(stack_vmm::Error::Closed)
        }
        () = called_off(handle, Some(Duration::ZERO)) => {
            daemon.backend.kill(&vm.process);
            return Err(Ended::failed(&ApiError::new(
                CALLED_OFF,
                "stopped while its VM was being set up",
            )));
        }
    };
    tracing::debug!(name = record.container.name, took = ?began.elapsed(), "configured");
    match answer {
        Ok(Outcome::Error { message, code }) => Err(Ended {
            code,
            error: Some(message),
            ..Ended::default()
        }),
        Ok(_) => {
            handle.update(|record| {
                if record.spec.hooks.post_start.is_empty() {
                    record.container.state = State::Running;
                }
                has_begun(&mut record.container);
                record.container.health = has_check.then_some(Health::Starting);
            });
            note_filled(daemon, handle);
            Ok(())
        }
        Err(error) => Err(Ended::failed(&vm_error(error))),
    }
}
