//! One container: one micro-VM with its disks, and the task that drives it.

pub mod aside;
mod attend;
pub mod blueprint;
mod clock;
pub mod console;
pub mod driver;
mod hooks;
mod mounts;
pub mod news;
pub(crate) mod passing;
pub mod process;
mod redraw;
mod run;
mod seccomp;
mod shutdown;
pub mod sockets;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stack_api::container::{Container, State};
use stack_api::event::ApiError;
use stack_api::journal::Happening;
use stack_api::spec::ServiceSpec;
use stack_protocol::message::{Command, Outcome};
use stack_protocol::signal;
use stack_vmm::{Agent, Process, Transport};
use tokio::sync::{Notify, watch};

use crate::ledger::Ledger;
use crate::logs::Readers;
use crate::network::Nic;
use crate::time::now_ms;
pub use blueprint::{Blueprint, MTU, card};
pub use mounts::host_sockets;
pub use redraw::{redraw, rewire, room};
pub use run::NEVER_RAN;

/// A guest that has not answered by then has nothing to say.
const ANSWER: Duration = Duration::from_secs(5);

/// What the ledger keeps of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// What the API shows.
    pub container: Container,
    /// What it was made from.
    pub spec: ServiceSpec,
    /// What its VM is made of.
    pub blueprint: Blueprint,
    /// Places on networks.
    pub nics: Vec<Nic>,
    /// The VM, while there is one.
    pub process: Option<Process>,
    /// The user wants it to run.
    pub wanted: bool,
    /// How the frames of its VM travel; fixed while there is one.
    #[serde(default)]
    pub transport: Transport,
    /// The network devices of its VM, while there is one.
    #[serde(default)]
    pub cards: Option<Cards>,
    /// Another container has the names and ports that it is meant for.
    #[serde(default)]
    pub standby: bool,
    /// It is removed, with its nameless volumes, when it has ended.
    #[serde(default)]
    pub remove_at_end: bool,
    /// It is a `pre_start` hook of its service.
    #[serde(default)]
    pub hook: bool,
    /// Its `pre_start` hooks have been run; what for.
    #[serde(default)]
    pub prepared: Option<String>,
    /// Automatic restarts since the last start by hand or success.
    #[serde(default)]
    pub attempts: u32,
    /// The grace period that the last stop was asked for with, in
    /// milliseconds.
    #[serde(default)]
    pub stop_grace_ms: Option<u64>,
    /// `kill` has sent it the signal that it ends by: its restart policy does
    /// not count until the next start.
    #[serde(default)]
    pub told_to_end: bool,
    /// Its last start was called off before its service ran.
    #[serde(default)]
    pub called_off: bool,
    /// How the run before the machine that starts now has ended.
    #[serde(default)]
    pub exit_before: Option<i32>,
    /// Ids of the images that it mounts by their references.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
}

/// The network devices of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cards {
    /// Those that it started with a network for.
    pub wired: usize,
    /// Those behind them, for networks that it joins while it runs.
    pub spare: usize,
}

impl Record {
    /// How the frames of a network device travel. Spare ones have datagrams:
    /// QEMU does not look out for a peer of those.
    pub fn transport_of(&self, device: usize) -> Transport {
        match self.cards {
            Some(cards) if device >= cards.wired => Transport::Datagram,
            _ => self.transport,
        }
    }

    /// The device for one more network, when its VM has one: a spare one, or
    /// that of a network that it has left.
    pub fn free_card(&self) -> Option<usize> {
        let left = self.nics.iter().position(|nic| nic.unplugged);
        let cards = self.cards?;
        left.or_else(|| (self.nics.len() < cards.wired + cards.spare).then_some(self.nics.len()))
    }

    /// No VM, in the way that was asked for, or else the service's own.
    pub fn stop_wish(&self) -> Wish {
        let grace_ms = self.stop_grace_ms.or(self.spec.stop_grace_period_ms);
        Wish::Stop {
            signal: self.stop_signal(),
            grace_ms: grace_ms.unwrap_or(10_000),
        }
    }

    /// It waits for its next start, without a VM.
    pub fn rests(&self) -> bool {
        self.container.state == State::Restarting && self.process.is_none()
    }

    /// The number of the signal that it ends by.
    pub fn stop_signal(&self) -> i32 {
        signal::number(&self.blueprint.stop_signal).unwrap_or(libc::SIGTERM)
    }
}

/// What the driver shall bring about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A running VM. No start has the number of an earlier one, so that each is
    /// a wish of its own.
    Run(u64),
    /// No VM: this signal, then SIGKILL after the grace period.
    Stop {
        /// Linux signal number.
        signal: i32,
        /// Milliseconds.
        grace_ms: u64,
    },
    /// No VM and no driver: the container is being removed.
    Gone,
}

/// A VM that runs is taken over within this time.
const TAKEN_OVER: Duration = Duration::from_secs(5);
/// How long after a halted VM went on that is known at the latest.
const GOES_ON: Duration = Duration::from_secs(1);

/// The last word of a health check.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Exit code of the probe.
    pub code: i32,
    /// What it printed.
    pub output: String,
    /// What it makes of the container; the record follows in a moment.
    pub health: Option<stack_api::container::Health>,
}

/// A container, its driver's mailbox and its live state.
#[derive(Debug)]
pub struct Handle {
    /// 64 hexadecimal digits.
    pub id: String,
    record: watch::Sender<Record>,
    /// What the driver shall bring about.
    pub wish: watch::Sender<Wish>,
    /// The conversation with the VM, while it is configured.
    pub agent: watch::Sender<Option<Agent>>,
    /// Signalled after new lines were written to the log.
    pub logged: Arc<Notify>,
    /// What the last health probe that changed something said.
    pub probe: watch::Sender<Option<Probe>>,
    /// Who reads the log and must not miss any of it.
    pub readers: Arc<Readers>,
    /// Signalled when one of them has gone on.
    pub passed: Notify,
    /// The driver has ended.
    pub ended: watch::Sender<bool>,
    /// Clients that wait for its output and end.
    pub attached: watch::Sender<usize>,
    /// Keeps a second VM from its disks, until it is seen that one has them.
    pub disks: Arc<tokio::sync::Mutex<()>>,
    // How many starts were asked for.
    starts: AtomicU64,
    ledger: Arc<Ledger>,
    // One change of the record at a time; and what the ledger could not be told.
    changing: Mutex<Unrecorded>,
    // Signalled when there is something of that kind.
    unrecorded: Notify,
}

/// What is so, and is not in the ledger.
#[derive(Debug, Default)]
struct Unrecorded {
    /// The record.
    record: bool,
    /// What happened, for the journal.
    news: Vec<Happening>,
}

/// So much of what happened is kept for the journal while it cannot be told.
const MOST_NEWS: usize = 100;
/// Pause before the ledger is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(3);

impl Handle {
    /// A handle for a record; the caller starts the [`driver`].
    pub fn new(mut record: Record, ledger: Arc<Ledger>) -> Arc<Handle> {
        // Whoever was to start it again is gone.
        record.wanted |= std::mem::take(&mut record.container.halted);
        // A daemon that was killed in the middle of a stop had it so.
        let wish = match record.wanted {
            true => Wish::Run(0),
            false => record.stop_wish(),
        };
        Arc::new(Handle {
            id: record.container.id.clone(),
            record: watch::Sender::new(record),
            wish: watch::Sender::new(wish),
            agent: watch::Sender::new(None),
            logged: Arc::default(),
            probe: watch::Sender::new(None),
            readers: Arc::default(),
            passed: Notify::new(),
            ended: watch::Sender::new(false),
            attached: watch::Sender::new(0),
            disks: Arc::default(),
            starts: AtomicU64::new(0),
            ledger,
            changing: Mutex::default(),
            unrecorded: Notify::new(),
        })
    }

    /// What the API shows now.
    pub fn container(&self) -> Container {
        self.record.borrow().container.clone()
    }

    /// Everything that is known now.
    pub fn record(&self) -> Record {
        self.record.borrow().clone()
    }

    /// What is kept of its output.
    pub fn logging(&self) -> stack_api::logging::Logging {
        self.record.borrow().spec.logging.clone()
    }

    /// Changes of anything.
    pub fn changes(&self) -> watch::Receiver<Record> {
        self.record.subscribe()
    }

    /// Changes the record, in the ledger first. When that cannot be written it
    /// is told later: what is so does not depend on it.
    pub fn update(&self, change: impl FnOnce(&mut Record)) {
        let mut unrecorded = guard(&self.changing);
        if *self.ended.borrow() {
            // It is being removed: nothing brings it back.
            return;
        }
        let before = self.record();
        let mut record = before.clone();
        change(&mut record);
        unrecorded.news.extend(news::between(&before, &record));
        if let Err(error) = self.write(&record, &mut unrecorded) {
            tracing::error!(%error, container = record.container.name, "not recorded yet");
            self.unrecorded.notify_one();
        }
        self.record.send_replace(record);
    }

    fn write(&self, record: &Record, unrecorded: &mut Unrecorded) -> Result<(), ApiError> {
        let written = self.ledger.put_containers(&[record], &unrecorded.news);
        unrecorded.record = written.is_err();
        match written {
            Ok(()) => unrecorded.news.clear(),
            Err(_) => unrecorded.news.truncate(MOST_NEWS),
        }
        written
    }

    /// Tells the ledger what it could not be told, as soon as it can. Does not
    /// end.
    async fn keep_recorded(&self) {
        loop {
            self.unrecorded.notified().await;
            while !self.record_again() {
                tokio::time::sleep(TOLD_AGAIN).await;
            }
        }
    }

    fn record_again(&self) -> bool {
        let mut unrecorded = guard(&self.changing);
        if !unrecorded.record || *self.ended.borrow() {
            return true;
        }
        let recorded = self.write(&self.record(), &mut unrecorded).is_ok();
        if recorded {
            tracing::info!(container = self.id, "recorded again");
        }
        recorded
    }

    /// Changes two records at once: the ledger has both or none.
    ///
    /// # Errors
    /// The ledger cannot be written; nothing is changed then.
    pub fn update_both(
        &self,
        other: &Handle,
        change: impl FnOnce(&mut Record, &mut Record),
    ) -> Result<(), ApiError> {
        // By id, so that nobody waits for the other one.
        let (first, second) = if self.id < other.id {
            (self, other)
        } else {
            (other, self)
        };
        let _first = guard(&first.changing);
        let _second = guard(&second.changing);
        let before = [self.record(), other.record()];
        let [mut a, mut b] = before.clone();
        change(&mut a, &mut b);
        let mut news = news::between(&before[0], &a);
        news.extend(news::between(&before[1], &b));
        self.ledger.put_containers(&[&a, &b], &news)?;
        self.record.send_replace(a);
        other.record.send_replace(b);
        Ok(())
    }

    /// Tells the journal what cannot be seen from the record.
    pub fn tell(&self, action: &str, details: &[(&str, String)]) {
        let happening = news::happening(&self.record(), action, details);
        if let Err(error) = self.ledger.tell(&[happening]) {
            tracing::error!(%error, action, container = self.id, "not in the journal");
        }
    }

    /// Asks for a start.
    pub fn start(&self) {
        let number = self.starts.fetch_add(1, Ordering::Relaxed) + 1;
        self.update(|record| {
            record.wanted = true;
            record.stop_grace_ms = None;
            record.told_to_end = false;
            record.called_off = false;
            record.container.restarts = 0;
            record.container.halted = false;
            record.attempts = 0;
            if !record.container.state.is_live() {
                record.container.state = State::Starting;
                record.container.error = None;
                record.container.error_code = None;
            }
            self.wish(Wish::Run(number));
        });
    }

    /// Asks for a stop; `grace_ms` of `None` is the service's own.
    pub fn stop(&self, grace_ms: Option<u64>) {
        self.update(|record| {
            record.wanted = false;
            record.stop_grace_ms = grace_ms;
            self.wish(record.stop_wish());
        });
    }

    /// With the record, so that whoever changes one sees both. What is being
    /// removed is wished nothing else.
    fn wish(&self, new: Wish) {
        self.wish.send_if_modified(|wish| {
            let open = *wish != Wish::Gone;
            if open {
                *wish = new;
            }
            open
        });
    }

    /// How long until it has run for `time`; zero when it has.
    pub fn settled_in(&self, time: Duration) -> Duration {
        let started = self.record.borrow().container.started_ms.unwrap_or(0);
        let ran = Duration::from_millis(now_ms().saturating_sub(started));
        time.saturating_sub(ran)
    }

    /// The conversation with its VM, if that runs and is not halted for more than
    /// a moment. A daemon that
    /// has just been started takes over the VMs that it finds, which is waited for.
    pub async fn answering(&self) -> Option<Agent> {
        let mut changes = self.changes();
        // It may go on already, and it not be known yet.
        let goes_on = changes.wait_for(|record| !attend::says_halted(&record.container));
        if tokio::time::timeout(GOES_ON, goes_on).await.is_err() {
            return None;
        }
        let mut agent = self.agent.subscribe();
        let over = changes.wait_for(|record| !record.container.state.is_live());
        let there = async { agent.wait_for(Option::is_some).await.ok()?.clone() };
        tokio::select! {
            biased;
            agent = there => agent,
            _ = over => None,
            () = tokio::time::sleep(TAKEN_OVER) => None,
        }
    }

    /// Waits until its VM is halted because the host's disk is full, or is not.
    pub async fn halted(&self, wanted: bool) {
        let mut changes = self.changes();
        let is_so = |record: &Record| attend::says_halted(&record.container) == wanted;
        if changes.wait_for(is_so).await.is_err() {
            // There will be no other.
            std::future::pending::<()>().await;
        }
    }

    /// Why nothing is heard of a VM that is there.
    pub fn silent(&self) -> ApiError {
        let name = self.container().name;
        if attend::is_halted(self) {
            let message = format!("{name} is halted, because the disk of the host is full");
            return ApiError::new("disk_full", message).help(
                "free some space, `stack doctor` shows where: it goes on by itself within seconds",
            );
        }
        let message = format!("{name} does not answer at the moment");
        ApiError::new("not_running", message).help("try again")
    }

    /// What the guest answers; `None`: nothing, or not soon.
    pub async fn ask(&self, command: Command) -> Option<Outcome> {
        let agent = self.agent.borrow().clone()?;
        let answer = tokio::time::timeout(ANSWER, agent.request(command)).await;
        answer.ok()?.ok()
    }

    /// Waits until there is no VM.
    pub async fn stopped(&self) {
        let mut changes = self.changes();
        let ended = self.ended.subscribe();
        let down = changes.wait_for(|record| {
            *ended.borrow() || (!record.container.state.is_live() && record.process.is_none())
        });
        let _ = down.await;
    }

    /// Waits until its VM is halted for want of room.
    pub async fn halts(&self) {
        let mut changes = self.changes();
        let halted = changes.wait_for(|record| attend::says_halted(&record.container));
        if halted.await.is_err() {
            std::future::pending().await
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error of the VM layer, for the user.
pub fn vm_error(error: stack_vmm::Error) -> ApiError {
    let (code, help) = (error.code(), error.help());
    let mut out = ApiError::new(code, error.to_string());
    out.help = help;
    out
}
