//! Changes while the service runs.

use std::time::Instant;

use stack_protocol::config::VmConfig;
use stack_protocol::message::{Event, Health as Status, Outcome};

use super::{Agent, Health};
use crate::child::Refusal;
use crate::{files, service, stats};

impl Agent {
    /// Takes what can change. When something cannot be, what came before it
    /// stays changed: the daemon tells what was then, which undoes it.
    pub(super) fn update(&mut self, config: &VmConfig) -> Result<Outcome, Refusal> {
        if self.service()?.exit.is_some() {
            return Err(Refusal::not_running());
        }
        let used = stats::read().memory_bytes;
        if let Some(limit) = config.memory_limit
            && limit < used
        {
            // The kernel would kill for it.
            let (used, limit) = (used.div_ceil(1 << 20), limit >> 20);
            return Err(Refusal::new(
                128,
                format!("the service uses {used} MiB, more than a limit of {limit} MiB"),
            ));
        }
        self.cards.change(&config.interfaces)?;
        self.inwards.apply(&config.inward)?;
        files::remake(config)?;
        service::limit(config)?;
        self.change_health(config);
        Ok(Outcome::Ok)
    }

    fn change_health(&mut self, config: &VmConfig) {
        let changed = match (&mut self.health, &config.healthcheck) {
            (None, None) => false,
            (Some(health), Some(check)) => health.change(check),
            (None, Some(check)) => {
                self.health = Some(Health::new(check, Instant::now()));
                true
            }
            (Some(health), None) => {
                health.end_probe();
                self.health = None;
                true
            }
        };
        if changed {
            let health = self.health.as_ref();
            let event = Event::Health {
                health: health.map_or(Status::None, Health::status),
                failing_streak: health.map_or(0, Health::streak),
                code: 0,
                output: String::new(),
            };
            self.tell(event);
        }
    }
}
