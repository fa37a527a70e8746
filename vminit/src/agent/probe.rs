//! Running the probes of the health check.

use std::time::{Duration, Instant};

use stack_protocol::config::{Exec, HealthCheck};
use stack_protocol::message::{self, Event};

use super::{Agent, Stage};
use crate::health::Monitor;
use crate::process::{Part, Process};
use crate::spawn::{Place, spawn};
use crate::{service, sys};

/// Longest output that is told.
const OUTPUT: usize = 4096;
/// What a probe left behind may hold its output open for that long.
const LINGER: Duration = Duration::from_millis(100);

/// The health of the service and the probe that runs.
pub(super) struct Health {
    monitor: Monitor,
    since: Instant,
    probe: Option<Probe>,
    stopped: bool,
}

struct Probe {
    process: Process,
    began: Instant,
    output: Vec<u8>,
    ended: Option<(i32, Instant)>,
}

impl Health {
    pub(super) fn new(check: &HealthCheck, since: Instant) -> Health {
        Health {
            monitor: Monitor::new(check),
            since,
            probe: None,
            stopped: false,
        }
    }

    /// Another definition. One with the same test goes on from the health
    /// there is; another test begins anew. `false`: it is the same.
    pub(super) fn change(&mut self, check: &HealthCheck) -> bool {
        let Some(fresh) = self.monitor.change(check, self.since.elapsed()) else {
            return false;
        };
        if fresh {
            self.end_probe();
            *self = Health::new(check, Instant::now());
        }
        true
    }

    /// Ends the probe that runs: nobody wants to know its result any more.
    pub(super) fn end_probe(&mut self) {
        if let Some(probe) = self.probe.take() {
            sys::kill(-probe.process.pid, libc::SIGKILL);
        }
    }

    /// The service is about to be frozen, and a probe with it: that it does not end
    /// then says nothing of the service's health.
    pub(super) fn interrupt(&mut self) {
        if self
            .probe
            .as_ref()
            .is_some_and(|probe| probe.ended.is_none())
        {
            self.end_probe();
            self.monitor.skip(self.since.elapsed());
        }
    }

    pub(super) fn status(&self) -> message::Health {
        self.monitor.status()
    }

    pub(super) fn streak(&self) -> u32 {
        self.monitor.streak()
    }

    /// The running probe's process.
    pub(super) fn probe(&self) -> Option<&Process> {
        self.probe.as_ref().map(|probe| &probe.process)
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        Some(match &self.probe {
            None => self.since + self.monitor.next(),
            Some(Probe {
                ended: Some((_, at)),
                ..
            }) => *at + LINGER,
            Some(probe) => probe.began + self.monitor.timeout(),
        })
    }

    /// The service has ended: no more probes.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.probe = None;
    }

    pub(super) fn process_ended(&mut self, pid: i32, status: i32) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.process.pid == pid) {
            probe.ended = Some((service::exit(status).code, Instant::now()));
        }
    }

    fn verdict(&mut self, began: Instant, code: i32, output: &[u8]) -> Option<Event> {
        let at = |time: Instant| time.saturating_duration_since(self.since);
        let verdict = self
            .monitor
            .finished(at(began), at(Instant::now()), code == 0);
        let output = String::from_utf8_lossy(&output[..output.len().min(OUTPUT)]).into_owned();
        verdict.news.then_some(Event::Health {
            health: verdict.health,
            failing_streak: verdict.streak,
            code,
            output,
        })
    }
}

impl Agent {
    pub(super) fn probe_ready(&mut self, part: Part) {
        let Some(probe) = self
            .health
            .as_mut()
            .and_then(|health| health.probe.as_mut())
        else {
            return;
        };
        match part {
            Part::Report => {
                if let Some(Err(refusal)) = probe.process.started() {
                    self.judge(refusal.code, Some(refusal.message.into_bytes()));
                    return;
                }
            }
            Part::Input => {}
            Part::Output(n) => {
                if let Some(data) = probe.process.read(n, OUTPUT) {
                    // What is too much is read, so that the probe can end.
                    let room = OUTPUT.saturating_sub(probe.output.len());
                    probe
                        .output
                        .extend_from_slice(&data[..data.len().min(room)]);
                }
            }
        }
        self.finish_probe();
    }

    /// Judges the probe if it has ended and its output has been read.
    pub(super) fn finish_probe(&mut self) {
        let Some(probe) = self
            .health
            .as_ref()
            .and_then(|health| health.probe.as_ref())
        else {
            return;
        };
        let Some((code, at)) = probe.ended else {
            return;
        };
        let quiet =
            probe.process.is_silent() || (at.elapsed() >= LINGER && !probe.process.has_unread());
        if quiet && !probe.process.is_starting() {
            self.judge(code, None);
        }
    }

    fn judge(&mut self, code: i32, instead: Option<Vec<u8>>) {
        let Some(health) = &mut self.health else {
            return;
        };
        let Some(probe) = health.probe.take() else {
            return;
        };
        let event = health.verdict(probe.began, code, &instead.unwrap_or(probe.output));
        if let Some(event) = event {
            self.tell(event);
        }
    }

    /// Starts the probe that is due, ends the one that takes too long.
    pub(super) fn keep_probing(&mut self, now: Instant) {
        let Some(health) = &mut self.health else {
            return;
        };
        if health.deadline().is_none_or(|at| at > now) {
            return;
        }
        match &health.probe {
            None => self.start_probe(now),
            Some(Probe { ended: Some(_), .. }) => self.finish_probe(),
            Some(probe) => {
                // The probe leads a group of its own.
                sys::kill(-probe.process.pid, libc::SIGKILL);
                let limit = health.monitor.timeout();
                let why = format!("Health check exceeded timeout ({limit:?})");
                self.judge(-1, Some(why.into_bytes()));
            }
        }
    }

    fn start_probe(&mut self, now: Instant) {
        let Stage::Running(service) = &self.stage else {
            return;
        };
        let Some(health) = &mut self.health else {
            return;
        };
        if service.process.is_starting() || service.frozen {
            health
                .monitor
                .skip(now.saturating_duration_since(health.since));
            return;
        }
        let exec: Exec = health.monitor.probe(&service.exec);
        match spawn(&exec, &Place::Beside(service.process.pid)) {
            Ok(process) => {
                health.probe = Some(Probe {
                    process,
                    began: now,
                    output: Vec::new(),
                    ended: None,
                });
            }
            Err(refusal) => {
                let event = health.verdict(now, refusal.code, refusal.message.as_bytes());
                if let Some(event) = event {
                    self.tell(event);
                }
            }
        }
    }
}
