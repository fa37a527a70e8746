//! When the next probe is due and what its result means. No clock and no
//! processes here: times are given, since the start of the service.
//!
//! The rules are Docker's (`HEALTHCHECK` in the Dockerfile reference): a
//! failure during the start period does not count unless a probe has
//! succeeded before; `retries` failures in a row make the service unhealthy;
//! one success makes it healthy.
//!
//! One thing is added: Docker's first probe comes after a whole interval, and
//! all that waits for the service waits as long. Here it is probed right from
//! the start, at growing pauses, until that time; such an early probe can
//! only tell that the service is healthy, its failure means nothing.

use std::time::Duration;

use stack_protocol::config::{Exec, HealthCheck};
use stack_protocol::message::Health;

/// The first early probe, and the pause after it, which doubles.
const EARLY: Duration = Duration::from_millis(50);

/// The state of one service's health.
#[derive(Debug)]
pub(crate) struct Monitor {
    check: HealthCheck,
    status: Health,
    streak: u32,
    next: Duration,
    /// When Docker would probe first.
    first: Duration,
    /// Pause after the next early probe.
    pause: Duration,
}

/// What a probe's result changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub health: Health,
    pub streak: u32,
    /// It is worth telling: the probe failed or the health is another one.
    pub news: bool,
}

impl Monitor {
    /// Zeroes in the check stand for Docker's defaults.
    pub(crate) fn new(check: &HealthCheck) -> Monitor {
        let zero = Duration::ZERO;
        let status = Health::Starting;
        let mut monitor = Monitor {
            check: complete(check),
            status,
            streak: 0,
            next: zero,
            first: zero,
            pause: EARLY,
        };
        monitor.first = monitor.interval(zero);
        monitor.next = monitor.first.min(EARLY);
        monitor
    }

    /// Takes another definition at `now`. `None`: it is the same.
    /// `Some(true)`: it tests something else, so that all begins anew, which
    /// is the caller's to do. `Some(false)`: the times are other ones, and
    /// the next probe comes by the new ones.
    pub(crate) fn change(&mut self, check: &HealthCheck, now: Duration) -> Option<bool> {
        let check = complete(check);
        if check == self.check {
            return None;
        }
        if check.test != self.check.test {
            return Some(true);
        }
        self.check = check;
        if self.streak >= self.check.retries && self.status == Health::Healthy {
            self.status = Health::Unhealthy;
        }
        self.next = self.next.min(now + self.interval(now));
        Some(false)
    }

    /// Failures in a row.
    pub(crate) fn streak(&self) -> u32 {
        self.streak
    }

    /// The health now.
    pub(crate) fn status(&self) -> Health {
        self.status
    }

    /// When the next probe starts.
    pub(crate) fn next(&self) -> Duration {
        self.next
    }

    /// How long a probe may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.check.timeout_ms)
    }

    /// The probe, as one more process of the service.
    pub(crate) fn probe(&self, service: &Exec) -> Exec {
        let args = match self.check.test.split_first() {
            Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
            Some((kind, rest)) if kind == "CMD-SHELL" => {
                let mut args = vec!["/bin/sh".to_owned(), "-c".to_owned()];
                args.extend_from_slice(rest);
                args
            }
            _ => self.check.test.clone(),
        };
        Exec {
            args,
            tty: false,
            stdin: false,
            size: None,
            ..service.clone()
        }
    }

    /// Nothing is asked of a service that is frozen or not there yet: puts the
    /// next probe off.
    pub(crate) fn skip(&mut self, now: Duration) {
        let early = now < self.first;
        self.next = now + if early { EARLY } else { self.interval(now) };
    }

    /// A probe that started at `started` has ended at `now`.
    pub(crate) fn finished(&mut self, started: Duration, now: Duration, success: bool) -> Verdict {
        let before = self.status;
        if !success && before == Health::Starting && started < self.first {
            self.next = (now + self.pause).min(self.first.max(now));
            self.pause *= 2;
            return Verdict {
                health: before,
                streak: 0,
                news: false,
            };
        }
        if success {
            self.streak = 0;
            self.status = Health::Healthy;
        } else if self.status != Health::Starting || !self.in_start_period(started) {
            self.streak += 1;
            if self.streak >= self.check.retries {
                self.status = Health::Unhealthy;
            }
        }
        self.next = now + self.interval(now);
        let news = !success || self.status != before;
        Verdict {
            health: self.status,
            streak: self.streak,
            news,
        }
    }

    fn in_start_period(&self, at: Duration) -> bool {
        at < Duration::from_millis(self.check.start_period_ms)
    }

    fn interval(&self, now: Duration) -> Duration {
        let starting = self.status == Health::Starting && self.in_start_period(now);
        Duration::from_millis(if starting {
            self.check.start_interval_ms
        } else {
            self.check.interval_ms
        })
    }
}

fn complete(check: &HealthCheck) -> HealthCheck {
    let or = |value: u64, default: u64| if value == 0 { default } else { value };
    HealthCheck {
        test: check.test.clone(),
        interval_ms: or(check.interval_ms, 30_000),
        timeout_ms: or(check.timeout_ms, 30_000),
        retries: if check.retries == 0 { 3 } else { check.retries },
        start_period_ms: check.start_period_ms,
        start_interval_ms: or(check.start_interval_ms, 5_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_definition() {
        let mut m = monitor(0);
        let same = m.check.clone();
        assert_eq!(m.change(&same, ms(0)), None);
        m.finished(ms(50), ms(60), true);
        assert_eq!(m.next(), ms(1060));
        let faster = HealthCheck {
            interval_ms: 200,
            ..same.clone()
        };
        assert_eq!(m.change(&faster, ms(100)), Some(false));
        assert_eq!((m.status(), m.next()), (Health::Healthy, ms(300)));
        // One failure is told before; with `retries: 1` it is enough.
        m.finished(ms(300), ms(310), false);
        let strict = HealthCheck {
            retries: 1,
            ..faster
        };
        assert_eq!(m.change(&strict, ms(320)), Some(false));
        assert_eq!(m.status(), Health::Unhealthy);
        let other = HealthCheck {
            test: vec!["CMD".to_owned(), "false".to_owned()],
            ..strict
        };
        assert_eq!(m.change(&other, ms(330)), Some(true));
    }

    fn monitor(start_period_ms: u64) -> Monitor {
        Monitor::new(&HealthCheck {
            test: vec!["CMD".to_owned(), "true".to_owned()],
            interval_ms: 1000,
            timeout_ms: 100,
            retries: 2,
            start_period_ms,
            start_interval_ms: 50,
        })
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn retries_make_it_unhealthy_and_one_success_heals() {
        let mut m = monitor(0);
        assert_eq!(m.status(), Health::Starting);
        let first = m.finished(ms(1000), ms(1010), false);
        assert_eq!(
            first,
            Verdict {
                health: Health::Starting,
                streak: 1,
                news: true
            }
        );
        assert_eq!(m.next(), ms(2010));
        let second = m.finished(ms(2010), ms(2020), false);
        assert_eq!(
            second,
            Verdict {
                health: Health::Unhealthy,
                streak: 2,
                news: true
            }
        );
        let third = m.finished(ms(3010), ms(3020), true);
        assert_eq!(
            third,
            Verdict {
                health: Health::Healthy,
                streak: 0,
                news: true
            }
        );
        assert!(!m.finished(ms(4010), ms(4020), true).news);
        // A single failure is told, but does not change the health.
        let single = m.finished(ms(5010), ms(5020), false);
        assert_eq!(
            single,
            Verdict {
                health: Health::Healthy,
                streak: 1,
                news: true
            }
        );
        assert_eq!(
            m.finished(ms(6010), ms(6020), false).health,
            Health::Unhealthy
        );
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        let mut m = monitor(500);
        assert_eq!(m.next(), ms(50));
        for n in 1..6 {
            let verdict = m.finished(ms(n * 60), ms(n * 60 + 10), false);
            assert_eq!((verdict.health, verdict.streak), (Health::Starting, 0));
        }
        assert_eq!(m.next(), ms(310 + 50));
        // It started within the period, however long it took.
        assert_eq!(m.finished(ms(499), ms(700), false).streak, 0);
        assert_eq!(m.next(), ms(1700));
        assert_eq!(m.finished(ms(1700), ms(1700), false).streak, 1);
    }

    #[test]
    fn after_a_success_the_start_period_is_over() {
        let mut m = monitor(10_000);
        m.finished(ms(50), ms(60), true);
        assert_eq!(m.next(), ms(1060));
        assert_eq!(m.finished(ms(1060), ms(1070), false).streak, 1);
        assert_eq!(
            m.finished(ms(2070), ms(2080), false).health,
            Health::Unhealthy
        );
    }

    #[test]
    fn early_probes_can_only_heal() {
        let mut m = monitor(0);
        let mut times = Vec::new();
        while m.next() < ms(1000) {
            times.push(m.next().as_millis());
            let now = m.next();
            let verdict = m.finished(now, now, false);
            assert_eq!(
                verdict,
                Verdict {
                    health: Health::Starting,
                    streak: 0,
                    news: false
                }
            );
        }
        assert_eq!(times, [50, 100, 200, 400, 800]);
        assert_eq!(m.next(), ms(1000));
        // One that took too long is followed by the first that counts.
        let mut slow = monitor(0);
        slow.finished(ms(50), ms(1300), false);
        assert_eq!(slow.next(), ms(1300));
        assert_eq!(slow.finished(ms(1300), ms(1310), false).streak, 1);
        // Nor does one that could not start yet make all wait.
        let mut late = monitor(0);
        late.skip(ms(55));
        assert_eq!(late.next(), ms(105));
        late.skip(ms(1000));
        assert_eq!(late.next(), ms(2000));
        let mut quick = monitor(0);
        assert_eq!(quick.finished(ms(50), ms(60), true).health, Health::Healthy);
        assert_eq!(quick.next(), ms(1060));
    }

    #[test]
    fn zero_means_default() {
        let m = Monitor::new(&HealthCheck {
            test: vec!["CMD-SHELL".to_owned(), "exit 1".to_owned()],
            interval_ms: 0,
            timeout_ms: 0,
            retries: 0,
            start_period_ms: 0,
            start_interval_ms: 0,
        });
        assert_eq!((m.first, m.timeout()), (ms(30_000), ms(30_000)));
        assert_eq!(m.probe(&Exec::default()).args, ["/bin/sh", "-c", "exit 1"]);
    }
}
