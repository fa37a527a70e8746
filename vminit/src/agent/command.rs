//! What the host asks for.

use std::fs;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime, clock_settime};
use stack_protocol::VERSION;
use stack_protocol::config::{Builtin, Exec, VmConfig};
use stack_protocol::message::{Command, Event, Health, Outcome, Request};

use super::{Agent, Stage};
use crate::child::Refusal;
use crate::exec::Session;
use crate::relay::Inwards;
use crate::service::{self, Service};
use crate::spawn::{Place, spawn};
use crate::{rootfs, stats, sys};

impl Agent {
    pub(super) fn request(&mut self, request: Request) {
        let id = request.id;
        let done = match request.command {
            Command::Hello {
                log_sequence,
                entropy,
            } => {
                self.hello(id, log_sequence, &entropy);
                return;
            }
            Command::Configure(config) => {
                self.configure(id, &config);
                return;
            }
            Command::Exec { session, exec } => {
                if let Err(refusal) = self.exec(id, session, *exec) {
                    self.reply(id, refusal.into());
                }
                return;
            }
            Command::Update(config) => self.update(&config),
            Command::LogAck { sequence } => {
                self.output.acknowledge(sequence);
                Ok(Outcome::Ok)
            }
            Command::Resize {
                session,
                rows,
                columns,
            } => self.resize(session, rows, columns),
            Command::Signal { session, signal } => self.signal(session, signal),
            Command::Stop { signal, grace_ms } => self.service().map(|service| {
                service.stop(signal, Duration::from_millis(grace_ms));
                Outcome::Ok
            }),
            Command::Stats => Ok(Outcome::Stats(Box::new(stats::read()))),
            Command::Processes => Ok(Outcome::Processes {
                list: crate::processes::list(),
            }),
            Command::Freeze { frozen } => self.freeze(frozen),
            Command::Clock { move_ns } => clock(move_ns),
            Command::Shutdown => {
                self.shutdown = Some(id);
                return;
            }
        };
        self.reply(id, done.unwrap_or_else(Outcome::from));
    }

    fn hello(&mut self, id: u64, log_sequence: u64, entropy: &[u8]) {
        self.output.resume(log_sequence);
        // Before anything random is asked for, the boot id first of all:
        // another VM may have been made from the same template.
        if !entropy.is_empty()
            && matches!(self.stage, Stage::Waiting)
            && let Err(error) = sys::add_entropy(entropy)
        {
            let refusal = Refusal::new(128, format!("entropy: {error}"));
            return self.reply(id, refusal.into());
        }
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let (configured, exit) = match &mut self.stage {
            Stage::Running(service) => {
                service.exit_told = false;
                (true, service.exit.clone())
            }
            Stage::Waiting | Stage::Failed(_) => (false, None),
        };
        let health = self
            .health
            .as_ref()
            .map_or(Health::None, super::Health::status);
        let boot_id = boot_id.trim().to_owned();
        self.reply(
            id,
            Outcome::Hello {
                version: VERSION,
                boot_id,
                configured,
                exit,
                health,
            },
        );
        self.greeted = true;
    }

    /// The answer comes when the program runs, or cannot.
    fn configure(&mut self, id: u64, config: &VmConfig) {
        match &self.stage {
            Stage::Waiting => {}
            Stage::Failed(refusal) => return self.reply(id, refusal.clone().into()),
            Stage::Running(_) => {
                let refusal = Refusal::new(128, "this VM has been configured already");
                return self.reply(id, refusal.into());
            }
        }
        let cards = self.cards.configure(config, self.template);
        self.stage = match start(config, cards, &mut self.inwards) {
            Ok(mut service) => {
                service.request = Some(id);
                let check = config.healthcheck.as_ref();
                self.health = check.map(|check| super::Health::new(check, service.started));
                Stage::Running(Box::new(service))
            }
            Err(refusal) => {
                self.reply(id, refusal.clone().into());
                Stage::Failed(refusal)
            }
        };
    }

    pub(super) fn service_started(&mut self) {
        let Stage::Running(service) = &mut self.stage else {
            return;
        };
        let Some(result) = service.process.started() else {
            return;
        };
        let pid = service.process.pid as u32;
        match (result, service.request.take()) {
            (Ok(()), request) => {
                if let Some(id) = request {
                    self.reply(id, Outcome::Ok);
                }
                self.tell(Event::Started { pid });
            }
            (Err(refusal), Some(id)) => {
                self.health = None;
                self.stage = Stage::Failed(refusal.clone());
                self.reply(id, refusal.into());
            }
            // Whoever asked has gone, and the next one was told that this VM is
            // configured: it hears of an end.
            (Err(refusal), None) => {
                service.refused(refusal);
                self.health = None;
            }
        }
    }

    pub(super) fn service(&mut self) -> Result<&mut Service, Refusal> {
        match &mut self.stage {
            Stage::Running(service) => Ok(service),
            Stage::Waiting | Stage::Failed(_) => Err(Refusal::not_running()),
        }
    }

    fn exec(&mut self, id: u64, session: u32, exec: Exec) -> Result<(), Refusal> {
        let service = self.service()?;
        if service.exit.is_some() {
            return Err(Refusal::not_running());
        }
        // Files are copied best while nothing moves.
        let goes_on = exec.builtin.as_ref().is_some_and(Builtin::goes_on_frozen);
        if service.frozen && !goes_on {
            return Err(Refusal::new(128, "the service is paused: unpause it first"));
        }
        let pid = service.process.pid;
        if session == 0 || self.sessions.contains_key(&session) {
            return Err(Refusal::new(128, format!("session {session} is in use")));
        }
        let process = spawn(&exec, &Place::Beside(pid))?;
        self.sessions.insert(session, Session::new(process, id));
        Ok(())
    }

    fn resize(&mut self, session: u32, rows: u16, columns: u16) -> Result<Outcome, Refusal> {
        if let Some(terminal) = self.process(session)?.terminal() {
            sys::set_size(terminal.as_raw_fd(), rows, columns);
        }
        Ok(Outcome::Ok)
    }

    fn signal(&mut self, session: u32, signal: i32) -> Result<Outcome, Refusal> {
        if session == 0 && self.service()?.exit.is_some() {
            return Err(Refusal::not_running());
        }
        sys::kill(self.process(session)?.pid, signal);
        Ok(Outcome::Ok)
    }

    fn process(&mut self, session: u32) -> Result<&mut crate::process::Process, Refusal> {
        if session == 0 {
            return Ok(&mut self.service()?.process);
        }
        match self.sessions.get_mut(&session) {
            Some(session) if !session.is_over() => Ok(&mut session.process),
            _ => Err(Refusal::new(128, "the session has ended")),
        }
    }

    fn freeze(&mut self, frozen: bool) -> Result<Outcome, Refusal> {
        if self.service()?.exit.is_some() {
            return Err(Refusal::not_running());
        }
        if frozen && let Some(health) = &mut self.health {
            health.interrupt();
        }
        self.service()?.freeze(frozen)?;
        Ok(Outcome::Ok)
    }
}

/// Moves the clock; gives what it shows then.
fn clock(move_ns: i64) -> Result<Outcome, Refusal> {
    let mut now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    if move_ns != 0 {
        now = now + TimeSpec::nanoseconds(move_ns);
        clock_settime(ClockId::CLOCK_REALTIME, now)?;
    }
    let time_ns = now.num_nanoseconds();
    Ok(Outcome::Clock { time_ns })
}

/// Makes this VM the service's, and starts it.
fn start(
    config: &VmConfig,
    cards: std::io::Result<()>,
    inwards: &mut Inwards,
) -> Result<Service, Refusal> {
    let seconds = (config.time_ns / 1_000_000_000) as i64;
    let nanoseconds = (config.time_ns % 1_000_000_000) as i64;
    if config.time_ns > 0 {
        clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, nanoseconds))?;
    }
    let named = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| Refusal::new(128, format!("{what}: {error}"))
    };
    cards.map_err(named("network"))?;
    rootfs::build(config).map_err(named("root file system"))?;
    inwards.apply(&config.inward).map_err(named("sockets"))?;
    service::make_cgroup(config).map_err(named("control group"))?;
    let process = spawn(&config.process, &Place::New(config))?;
    Ok(Service::new(process, config.process.clone()))
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Outcome {
        Outcome::Error {
            message: refusal.message,
            code: refusal.code,
        }
    }
}
