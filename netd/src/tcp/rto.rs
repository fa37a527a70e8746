//! The retransmission timeout (RFC 6298), with bounds for a local link.

use std::time::Duration;

const INITIAL: Duration = Duration::from_millis(300);
/// Guests delay acknowledgements by 40 ms and more.
const MIN: Duration = Duration::from_millis(120);
const MAX: Duration = Duration::from_secs(5);

/// Round-trip estimate and back-off.
#[derive(Debug)]
pub(super) struct Rto {
    smoothed: Option<Duration>,
    variation: Duration,
    backoff: u32,
}

impl Rto {
    pub(super) fn new() -> Rto {
        Rto {
            smoothed: None,
            variation: Duration::ZERO,
            backoff: 0,
        }
    }

    /// A segment that was sent once took `rtt` to be acknowledged.
    pub(super) fn sample(&mut self, rtt: Duration) {
        match self.smoothed {
            None => {
                self.smoothed = Some(rtt);
                self.variation = rtt / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
                self.smoothed = Some((smoothed * 7 + rtt) / 8);
            }
        }
    }

    /// It was not acknowledged in time.
    pub(super) fn back_off(&mut self) {
        self.backoff = (self.backoff + 1).min(8);
    }

    /// Something new was acknowledged.
    pub(super) fn progress(&mut self) {
        self.backoff = 0;
    }

    /// How long to wait now.
    pub(super) fn current(&self) -> Duration {
        let base = self
            .smoothed
            .map_or(INITIAL, |rtt| rtt + self.variation * 4);
        (base.clamp(MIN, MAX) * (1 << self.backoff)).min(MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_start_again() {
        let mut rto = Rto::new();
        assert_eq!(rto.current(), INITIAL);
        rto.back_off();
        assert_eq!(rto.current(), INITIAL * 2);
        for _ in 0..100 {
            rto.back_off();
        }
        assert_eq!(rto.current(), MAX);
        rto.progress();
        rto.sample(Duration::from_micros(100));
        assert_eq!(rto.current(), MIN);
    }
}
