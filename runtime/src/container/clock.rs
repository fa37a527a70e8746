//! The guest's clock follows the host's. It is set when the VM becomes the
//! service's; from then on it runs by itself, stands while the VM is halted, and
//! knows nothing of what the host learns about the time.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use stack_protocol::message::{Command, Outcome};
use stack_vmm::{Agent, watched};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::{ANSWER, Handle};
use crate::time::now_ns;

/// A clock that is no more than this off is left alone: a jump is worse.
const OFF_NS: u64 = 100_000_000;
/// How often it is looked at. The host's clock is slewed by 0.05 % at most.
const OFTEN: Duration = Duration::from_secs(180);

/// Keeps the clock of the container's VM right. Does not end; drop it with the
/// VM. `goes_on`: told when the VM does after it was halted.
pub(super) async fn keep(handle: &Handle, goes_on: &Notify) {
    let mut agent = handle.agent.subscribe();
    let steps = Steps::new();
    loop {
        let talks = agent.borrow_and_update().clone();
        if let Some(talks) = talks {
            adjust(&talks, &handle.id).await;
        }
        tokio::select! {
            () = tokio::time::sleep(OFTEN) => {}
            () = goes_on.notified() => {}
            () = steps.next() => {}
            _ = agent.changed() => {}
        }
    }
}

async fn adjust(agent: &Agent, container: &str) {
    let before = now_ns();
    let Some(shown) = tell(agent, 0).await else {
        return;
    };
    let move_ns = error(before, shown, now_ns());
    if move_ns != 0 {
        tracing::info!(container, move_ns, "the guest's clock is set");
        tell(agent, move_ns).await;
    }
}

async fn tell(agent: &Agent, move_ns: i64) -> Option<i64> {
    let answer = agent.request(Command::Clock { move_ns });
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(Outcome::Clock { time_ns })) => Some(time_ns),
        _ => None,
    }
}

/// By how much a clock is to be moved that showed this at some moment between
/// two others; 0: it may be right.
fn error(before: u64, shown: i64, after: u64) -> i64 {
    let unsure = after.saturating_sub(before) / 2;
    let middle = i64::try_from(before + unsure).unwrap_or(i64::MAX);
    let move_ns = middle.saturating_sub(shown);
    match move_ns.unsigned_abs() > OFF_NS + unsure {
        true => move_ns,
        false => 0,
    }
}

/// Jumps of the host's clock (timerfd_create(2), `TFD_TIMER_CANCEL_ON_SET`);
/// that it was suspended is one.
struct Steps(Option<AsyncFd<OwnedFd>>);

impl Steps {
    fn new() -> Steps {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags).ok();
        let timer = timer.filter(|timer| arm(timer).is_ok());
        Steps(timer.and_then(|timer| watched(timer).ok()))
    }

    async fn next(&self) {
        let Some(timer) = &self.0 else {
            return std::future::pending().await;
        };
        match timer.readable().await {
            Ok(mut ready) => {
                // What it says is that it was cancelled.
                let _ = rustix::io::read(timer.get_ref(), &mut [0; 8]);
                ready.clear_ready();
                let _ = arm(timer.get_ref());
            }
            Err(_) => std::future::pending().await,
        }
    }
}

/// For a moment that does not come.
fn arm(timer: &OwnedFd) -> rustix::io::Result<()> {
    let never = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: i64::from(i32::MAX) * 2,
            tv_nsec: 0,
        },
    };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(timer, flags, &never).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_moved_when_it_is_wrong_for_sure() {
        const SECOND: u64 = 1_000_000_000;
        let at = |tenths: i64| tenths * 100_000_000;
        // Asked at 10 s, answered at 12 s.
        let error = |tenths| error(10 * SECOND, at(tenths), 12 * SECOND);
        for right in [99, 100, 110, 120, 121] {
            assert_eq!(error(right), 0, "{right}");
        }
        assert_eq!(error(98), at(12));
        assert_eq!(error(122), -at(12));
        assert_eq!(error(36_000 + 110), -at(36_000));
    }

    #[tokio::test]
    async fn nothing_is_told_while_the_host_s_clock_runs_on() {
        let steps = Steps::new();
        assert!(steps.0.is_some());
        let told = tokio::time::timeout(Duration::from_millis(50), steps.next()).await;
        assert!(told.is_err());
    }
}
