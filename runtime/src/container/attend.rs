//! A container's VM from its start to the end of its service: output, health,
//! hooks and wishes.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stack_api::container::{Container, Health, State};
use stack_protocol::log::Stream;
use stack_protocol::message::{Command, Event, Exit, Health as GuestHealth};
use stack_vmm::{AgentEvent, Backend, Process};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::hooks::{self, Said};
use super::run::{Ended, TAKES_OVER, Vm, connect};
use super::shutdown::Due;
use super::{Handle, Probe, Wish, clock};
use crate::daemon::Daemon;
use crate::logs::{Limits, Writer};

/// Log records that are stored before anything else is looked at.
const BATCH: usize = 1024;
/// How long what the guest sent before its VM ended may be on its way.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What `ps` says of a VM that QEMU has halted.
const HALTED: &str = "halted, because the disk of the host is full; it goes on by itself as soon as \
     there is room: free some space, `stack doctor` shows where";

/// What `ps` says of a VM that was ended with its service.
const CUT: &str = "it did not end when it was killed, so its VM was ended as it was: what was not \
     written to its volumes is lost";
/// The same, when it was halted.
pub(super) const CUT_HALTED: &str = "its VM was halted, because the disk of the host is full, and was ended as \
     it was: what was not written to its volumes is lost";

/// What `ps` says when a log cannot be written; the reason follows.
const LOG_WAITS: &str = "its output waits, because ";
/// How long after the end of a hook the end of the service that took it along may be
/// told: it is the last of its processes to end, and its output comes first.
const TOOK_ALONG: Duration = Duration::from_secs(1);
/// Between two attempts to write what waits.
const AGAIN: Duration = Duration::from_secs(1);
/// How long output may wait for a disk after its service has ended.
const WAITS_LONGEST: Duration = Duration::from_secs(30);
/// The same, when somebody waits for the end of the service.
const WAITS_STOPPED: Duration = Duration::from_secs(5);

/// The VM's life, until the service ends.
pub(super) async fn attend(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    vm: &mut Vm,
    writer: &mut Writer,
) -> Ended {
    let mut wish = handle.wish.subscribe();
    wish.mark_changed();
    let process = vm.process.clone();
    let gone = daemon.backend.wait(&process);
    tokio::pin!(gone);
    let (say, mut said) = mpsc::channel::<Said>(64);
    let begun = hooks::begin(handle, vm.agent.clone(), say.clone());
    tokio::pin!(begun);
    // A hook has failed, which is to be told then.
    let mut failed: Option<(Instant, Ended)> = None;
    let mut beginning = handle.container().state == State::Starting;
    let mut stopping = false;
    let mut connected = true;
    let mut back: Option<Pin<Box<dyn Future<Output = Vm> + Send + '_>>> = None;
    // The signal of the last stop, and whether the guest has it.
    let mut told = None;
    let heard = Arc::new(AtomicBool::new(false));
    let mut due = Due::never();
    let mut cut = None;
    let dir = daemon.paths.vm(&handle.id);
    let goes_on = Notify::new();
    let room = stack_vmm::outlast_full_disk(&dir, |halted| {
        note_halt(handle, halted);
        if !halted {
            goes_on.notify_one();
        }
    });
    tokio::pin!(room);
    let clock = clock::keep(handle, &goes_on);
    tokio::pin!(clock);
    loop {
        tokio::select! {
            event = vm.events.recv(), if connected => {
                let Some(event) = take(handle, vm, writer, event) else { continue };
                match event {
                    AgentEvent::Event(Event::Exited(exit)) => {
                        while let Ok(said) = said.try_recv() {
                            hear(handle, writer, &said);
                        }
                        return ended(exit);
                    }
                    AgentEvent::Event(event) => note(handle, &event),
                    AgentEvent::Log(_) | AgentEvent::Closed => {
                        handle.agent.send_replace(None);
                        let (process, stored) = (process.clone(), writer.stored());
                        back = Some(Box::pin(come_back(daemon, handle, process, stored)));
                        connected = false;
                    }
                }
            }
            fresh = next(&mut back), if !connected => {
                (back, connected) = (None, true);
                (vm.agent, vm.events) = (fresh.agent, fresh.events);
                handle.agent.send_replace(Some(vm.agent.clone()));
                if let Some(signal) = told.filter(|_| !heard.load(Ordering::Relaxed)) {
                    let grace_ms = due.grace_left(Instant::now()).as_millis() as u64;
                    drop(vm.agent.notify(Command::Stop { signal, grace_ms }).await);
                }
            }
            Some(line) = said.recv() => hear(handle, writer, &line),
            result = &mut begun, if beginning => {
                beginning = false;
                match result {
                    Ok(()) => handle.update(|record| {
                        if record.container.state == State::Starting {
                            record.container.state = State::Running;
                        }
                    }),
                    Err(error) => {
                        let at = Instant::now() + TOOK_ALONG;
                        failed = Some((at, Ended::failed(&error)));
                    }
                }
            }
            ended = when_due(&mut failed) => {
                while let Ok(said) = said.try_recv() {
                    hear(handle, writer, &said);
                }
                return ended;
            }
            () = &mut room => {}
            () = &mut clock => {}
            () = tokio::time::sleep(AGAIN), if writer.is_behind() => {
                flush(handle, writer);
                acknowledge(vm, writer);
            }
            // Somebody has read what was in the way of more output.
            () = handle.passed.notified(), if writer.is_behind() => {
                flush(handle, writer);
                acknowledge(vm, writer);
            }
            () = &mut gone => return last_words(daemon, handle, vm, writer, cut).await,
            () = tokio::time::sleep_until(due.at) => {
                if due.is_put_off(is_halted(handle), Instant::now()) {
                    continue;
                }
                tracing::warn!(container = handle.id, "the service cannot be killed: its VM is");
                cut = Some(if is_halted(handle) { CUT_HALTED } else { CUT });
                daemon.backend.kill(&process);
                due = Due::never();
            }
            changed = wish.changed() => {
                let now = wish.borrow_and_update().clone();
                let (signal, grace_ms) = match (changed, now) {
                    (Ok(()), Wish::Stop { signal, grace_ms }) => (signal, grace_ms),
                    (Ok(()), Wish::Run(_)) => continue,
                    _ => (libc::SIGKILL, 0),
                };
                due = Due::after(Duration::from_millis(grace_ms), Instant::now());
                let running = handle.container().state == State::Running;
                let hooked = running && !stopping && grace_ms > 0;
                stopping = true;
                writer.wait_no_more();
                handle.update(|record| record.container.state = State::Stopping);
                told = Some(signal);
                heard.store(false, Ordering::Relaxed);
                let (agent, say, heard) = (vm.agent.clone(), say.clone(), Arc::clone(&heard));
                let hooks = handle.record();
                tokio::spawn(async move {
                    let grace_ms = if hooked {
                        hooks::end(&hooks, &agent, &say, grace_ms).await
                    } else {
                        grace_ms
                    };
                    if agent.request(Command::Stop { signal, grace_ms }).await.is_ok() {
                        heard.store(true, Ordering::Relaxed);
                    }
                });
            }
        }
    }
}

/// Is its VM halted, because the host's disk is full?
pub(super) fn is_halted(handle: &Handle) -> bool {
    says_halted(&handle.container())
}

/// Is a VM halted, by what is known of it?
pub(super) fn says_halted(container: &Container) -> bool {
    container.error.as_deref() == Some(HALTED)
}

/// The VM was halted because the host's disk is full, or is not any more.
pub(super) fn note_halt(handle: &Handle, halted: bool) {
    if halted == is_halted(handle) {
        return;
    }
    if halted {
        tracing::warn!(container = handle.id, "halted: the host's disk is full");
    } else {
        tracing::info!(
            container = handle.id,
            "goes on: the host's disk has room again"
        );
    }
    handle.update(|record| {
        record.container.error = halted.then(|| HALTED.to_owned());
    });
}

/// The end that is told unless something else comes before.
async fn when_due(failed: &mut Option<(Instant, Ended)>) -> Ended {
    match failed {
        Some((at, _)) => tokio::time::sleep_until(*at).await,
        None => std::future::pending().await,
    }
    failed.take().map(|(_, ended)| ended).unwrap_or_default()
}

/// Stores output as long as there is some; gives what else has come. It waits
/// for nobody, the guest least of all: a stop must get through.
fn take(
    handle: &Handle,
    vm: &mut Vm,
    writer: &mut Writer,
    first: Option<AgentEvent>,
) -> Option<AgentEvent> {
    let mut next = first.or(Some(AgentEvent::Closed));
    let mut stored = 0;
    while let Some(AgentEvent::Log(record)) = &next {
        store(writer, record);
        stored += 1;
        next = if stored < BATCH {
            vm.events.try_recv().ok()
        } else {
            None
        };
    }
    if stored > 0 {
        flush(handle, writer);
        acknowledge(vm, writer);
    }
    next
}

/// The guest keeps what is not on the disk, and in the end its service waits.
fn acknowledge(vm: &Vm, writer: &Writer) {
    vm.agent.acknowledge(writer.stored());
}

/// Whether it can be written is seen when it is flushed.
fn store(writer: &mut Writer, record: &stack_protocol::log::Record) {
    let _ = writer.append(record);
}

fn flush(handle: &Handle, writer: &mut Writer) {
    let told = handle.container().error;
    let waits = told
        .as_deref()
        .is_some_and(|told| told.starts_with(LOG_WAITS));
    match writer.flush() {
        Err(error) if told.is_none() || waits => {
            let word = format!("{LOG_WAITS}{}", reason(&error));
            if told.as_ref() != Some(&word) {
                tracing::error!(%error, container = handle.id, "the log cannot be written: output waits");
                handle.update(|record| record.container.error = Some(word));
            }
        }
        Ok(()) if waits => {
            tracing::info!(container = handle.id, "the log can be written again");
            handle.update(|record| record.container.error = None);
        }
        _ => {}
    }
    writer.limit(Limits::from(&handle.logging()));
    handle.logged.notify_waiters();
}

/// Why a log cannot be written, and what to do.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the disk of the host is full; free some space, `stack doctor` shows where".to_owned()
        }
        _ => format!("its log cannot be written: {error}"),
    }
}

/// The service has ended: output that waits for the disk gets some time, and
/// what is lost then is told.
pub(super) async fn write_out(handle: &Handle, vm: &Vm, writer: &mut Writer, ended: &mut Ended) {
    writer.wait_no_more();
    if !writer.is_behind() {
        return;
    }
    let mut wish = handle.wish.subscribe();
    let patience = match *wish.borrow_and_update() {
        Wish::Run(_) => WAITS_LONGEST,
        Wish::Stop { .. } => WAITS_STOPPED,
        Wish::Gone => Duration::ZERO,
    };
    let last = Instant::now() + patience;
    loop {
        flush(handle, writer);
        if !writer.is_behind() {
            return acknowledge(vm, writer);
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = tokio::time::sleep_until(last) => break,
            changed = wish.changed() => match (changed, &*wish.borrow_and_update()) {
                (Ok(()), Wish::Run(_)) => {}
                _ => break,
            }
        }
    }
    let Err(error) = writer.flush() else {
        return;
    };
    let lost = format!("the end of its output is lost: {}", reason(&error));
    tracing::error!(%error, container = handle.id, "output lost: the log could not be written");
    also(&mut ended.error, lost);
}

/// Says this, too.
pub(super) fn also(error: &mut Option<String>, more: String) {
    *error = Some(match error.take() {
        Some(error) => format!("{error}; {more}"),
        None => more,
    });
}

fn hear(handle: &Handle, writer: &mut Writer, said: &Said) {
    let stream = if said.stderr {
        Stream::Stderr
    } else {
        Stream::Stdout
    };
    // As with `store`.
    let _ = writer.insert(stream, &said.line);
    flush(handle, writer);
}

/// The VM's process has ended: what the guest had sent before is still read.
async fn last_words(
    daemon: &Arc<Daemon>,
    handle: &Arc<Handle>,
    vm: &mut Vm,
    writer: &mut Writer,
    cut: Option<&str>,
) -> Ended {
    let mut exit = None;
    let read = async {
        while let Some(event) = vm.events.recv().await {
            match event {
                AgentEvent::Log(record) => store(writer, &record),
                AgentEvent::Event(Event::Exited(seen)) => exit = Some(seen),
                AgentEvent::Event(event) => note(handle, &event),
                AgentEvent::Closed => return,
            }
        }
    };
    let _ = tokio::time::timeout(LAST_WORDS, read).await;
    flush(handle, writer);
    if let Some(exit) = exit {
        return ended(exit);
    }
    let error = match cut {
        Some(cut) => cut.to_owned(),
        None => {
            let why = stack_vmm::last_words(&daemon.paths.vm(&handle.id));
            format!("the VM ended unexpectedly: {why}")
        }
    };
    Ended {
        ran: true,
        code: 137,
        error: Some(error),
        ..Ended::default()
    }
}

/// A conversation with the VM in the place of one that was cut: it is tried as
/// long as somebody waits for it.
async fn come_back(daemon: &Arc<Daemon>, handle: &Arc<Handle>, process: Process, log: u64) -> Vm {
    let halted = || is_halted(handle);
    loop {
        match connect(daemon, handle, process.clone(), log, TAKES_OVER, &halted).await {
            Ok((fresh, _)) => return fresh,
            Err(error) => {
                tracing::warn!(%error, container = handle.id, "the VM's agent is not heard");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn next<T>(work: &mut Option<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

fn ended(exit: Exit) -> Ended {
    Ended {
        ran: exit.error.is_none(),
        code: exit.code,
        error: exit.error,
        error_code: None,
        oom: exit.oom,
        of_the_host: false,
        called_off: false,
        unseen: false,
    }
}

fn note(handle: &Handle, event: &Event) {
    match event {
        Event::Health {
            health,
            code,
            output,
            ..
        } => {
            let health = api_health(*health);
            handle.probe.send_replace(Some(Probe {
                code: *code,
                output: output.clone(),
                health,
            }));
            if handle.container().health != health {
                handle.update(|record| record.container.health = health);
            }
        }
        Event::OutOfMemory => handle.update(|record| record.container.oom = true),
        Event::Started { .. } | Event::Exited(_) | Event::ExecExited { .. } => {}
    }
}

/// The guest's word for health in the API's terms.
pub(super) fn api_health(health: GuestHealth) -> Option<Health> {
    match health {
        GuestHealth::None => None,
        GuestHealth::Starting => Some(Health::Starting),
        GuestHealth::Healthy => Some(Health::Healthy),
        GuestHealth::Unhealthy => Some(Health::Unhealthy),
    }
}
