//! Whether a service without a health check has come up: it had its chance to
//! end. Time alone does not tell: on a busy machine a VM may have hardly run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stack_protocol::message::{Command, Outcome, ProcessInfo};

use crate::container::Handle;

/// So much of a processor is a chance, and so much time at least…
const SETTLE: Duration = Duration::from_millis(300);
/// …while it is looked so often…
const LOOK: Duration = Duration::from_millis(50);
/// …and after this time nothing else is waited for.
const LONGEST: Duration = Duration::from_secs(15);

/// Waits until the service has run for a moment: its processes wait for
/// something, or its VM had a processor for so long.
pub(super) async fn settled(handle: &Arc<Handle>) {
    let before = processor_time(handle);
    let since = Instant::now();
    loop {
        // It has been seen running since then; the host's clock may go back.
        let looked = since.elapsed();
        let left = handle.settled_in(SETTLE).min(SETTLE.saturating_sub(looked));
        if left.is_zero() {
            let had = processor_time(handle).zip(before);
            let had = had.is_some_and(|(now, before)| now.saturating_sub(before) >= SETTLE);
            let long = looked >= LONGEST || handle.settled_in(LONGEST).is_zero();
            if had || waits(handle).await || long {
                return;
            }
        }
        tokio::time::sleep(left.max(LOOK)).await;
    }
}

/// Does the guest say that all of the service's processes wait?
async fn waits(handle: &Handle) -> bool {
    match handle.ask(Command::Processes).await {
        Some(Outcome::Processes { list }) => all_wait(&list),
        _ => false,
    }
}

/// None is on a processor, waits for a disk, or has just ended. Without any
/// the service has ended, which will be told.
fn all_wait(list: &[ProcessInfo]) -> bool {
    !list.is_empty()
        && list
            .iter()
            .all(|info| matches!(info.state, 'S' | 'T' | 'I'))
}

/// What the VM's process has had of the host's processors (proc_pid_stat(5));
/// `None` where that is not known.
fn processor_time(handle: &Handle) -> Option<Duration> {
    let pid = handle.record().process?.pid;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks(&text).map(|ticks| Duration::from_millis(ticks * 10))
}

/// Ticks of user and system time; there are a hundred in a second
/// (`USER_HZ`).
fn ticks(stat: &str) -> Option<u64> {
    // The name before may have any characters in it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(state: char) -> ProcessInfo {
        ProcessInfo {
            pid: 1,
            ppid: 0,
            user: "root".to_owned(),
            cpu_ms: 0,
            age_ms: 0,
            memory_bytes: 0,
            state,
            command: "sh".to_owned(),
        }
    }

    #[test]
    fn who_is_about_to_run_or_has_ended_does_not_wait() {
        assert!(all_wait(&[process('S'), process('S')]));
        for busy in ['R', 'D', 'Z'] {
            assert!(!all_wait(&[process('S'), process(busy)]), "{busy}");
        }
        assert!(!all_wait(&[]));
    }

    #[test]
    fn processor_time_of_a_process() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 120 30 0 0 20 0 1 0 5";
        assert_eq!(ticks(stat), Some(150));
        assert_eq!(ticks("7 (a) S 1"), None);
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert!(ticks(&own).is_some());
    }
}
