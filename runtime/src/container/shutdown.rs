//! The end of a VM: what was written in it comes to its disks, then its process
//! ends. One that still writes has done what was asked of its service, so it gets
//! all the time that it may need, and what it could not write is told.

use std::time::Duration;

use stack_api::container::{Container, State};
use stack_protocol::message::{Command, Outcome};
use stack_vmm::{Agent, Backend, Process};
use tokio::time::Instant;

use super::attend::{CUT_HALTED, is_halted, says_halted};
use super::run::{Ended, outlived};
use super::{Handle, Wish};
use crate::daemon::Daemon;

/// How long a process is waited for that was killed, and a VM that somebody wants
/// to be gone at once.
pub(super) const AT_MOST: Duration = Duration::from_secs(10);
/// How long what was written may take to come to the host's disk, which may be
/// slow, and have a lot to write.
pub(super) const WRITES_LONGEST: Duration = Duration::from_secs(300);

/// From SIGKILL to the end of a service, at most: one that waits for a file
/// lock of another VM, or for a disk, takes no signal.
const UNKILLABLE: Duration = Duration::from_secs(5);
/// How often it is looked whether a VM that is to end goes on again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is said of a VM that was killed meanwhile.
pub(super) const CUT: &str = "its VM did not end in time and was ended as it was: what was written last to \
     its volumes may be lost";
/// Of one that ended by itself, but too early.
const BROKE_OFF: &str = "its VM ended before it had written everything: what was written last to \
     its volumes may be lost";

/// Has the guest write everything back and end; gives what is to be said if it
/// did not, or could not. `limit`: when it is killed.
pub(super) async fn shut_down(
    daemon: &Daemon,
    process: &Process,
    agent: &Agent,
    is_halted: impl Fn() -> bool,
    limit: impl Future<Output = ()>,
) -> Option<String> {
    if !daemon.backend.alive(process) {
        // How that came about is known.
        return None;
    }
    let end = async {
        // A guest of an older version answers before it writes.
        let answer = agent.request(Command::Shutdown).await;
        let gone = daemon.backend.wait(process);
        if answer.is_ok() {
            gone.await;
            return Some(answer);
        }
        // It has gone, or hears nothing.
        let gone = tokio::time::timeout(AT_MOST, gone).await;
        gone.is_ok().then_some(answer)
    };
    let ended = tokio::select! {
        ended = end => ended,
        () = limit => None,
    };
    match ended {
        Some(Ok(Outcome::Error { message, .. })) => Some(format!(
            "what was written last to its disks may be lost: {message}"
        )),
        Some(Ok(_)) => None,
        Some(Err(_)) => Some(BROKE_OFF.to_owned()),
        None => {
            let why = if is_halted() { CUT_HALTED } else { CUT };
            tracing::error!(vm = process.pid, why, "a VM did not end: it is killed");
            kill(daemon, process).await;
            Some(why.to_owned())
        }
    }
}

/// Kills the process and waits for its end. `false`: it has not ended, as one
/// that waits for a broken disk.
pub(super) async fn kill(daemon: &Daemon, process: &Process) -> bool {
    daemon.backend.kill(process);
    let gone = daemon.backend.wait(process);
    tokio::time::timeout(AT_MOST, gone).await.is_ok()
}

/// Ends when a container's VM has had its time to write. As long as nobody wants
/// it to be stopped, one that is halted for want of room has all the time.
pub(super) async fn patience(handle: &Handle) {
    loop {
        outlived(handle, |wish| match wish {
            Wish::Stop { grace_ms: 0, .. } | Wish::Gone => Some(AT_MOST),
            Wish::Stop { grace_ms, .. } => {
                Some(Duration::from_millis(*grace_ms).max(WRITES_LONGEST))
            }
            Wish::Run(_) => Some(WRITES_LONGEST),
        })
        .await;
        let waits = matches!(*handle.wish.borrow(), Wish::Run(_)) && is_halted(handle);
        if !waits {
            return;
        }
    }
}

/// When a VM is killed because its service does not end. One that is halted for want of
/// room cannot, and loses nothing as long as it stays: it has [`WRITES_LONGEST`] for
/// that, and its grace again when it goes on.
pub(super) struct Due {
    pub at: Instant,
    grace: Duration,
    put_off: bool,
    longest: Instant,
}

impl Due {
    /// Nobody wants it to end.
    pub(super) fn never() -> Due {
        let at = Instant::now() + Duration::from_secs(1 << 30);
        Due {
            at,
            grace: Duration::ZERO,
            put_off: false,
            longest: at,
        }
    }

    /// The guest is told to stop its service, and kills it after `grace`.
    pub(super) fn after(grace: Duration, now: Instant) -> Due {
        Due {
            at: now + grace + UNKILLABLE,
            grace,
            put_off: false,
            longest: now + grace.max(WRITES_LONGEST),
        }
    }

    /// What the service still has of its grace.
    pub(super) fn grace_left(&self, now: Instant) -> Duration {
        let left = self.at.saturating_duration_since(now);
        left.saturating_sub(UNKILLABLE)
    }

    /// At [`at`](Self::at): is it too early all the same? Who wants it to end at once
    /// does not wait for room.
    pub(super) fn is_put_off(&mut self, halted: bool, now: Instant) -> bool {
        let may_wait = !self.grace.is_zero() && now < self.longest;
        let goes_on = !halted && std::mem::take(&mut self.put_off);
        if halted && may_wait {
            self.put_off = true;
            self.at = self.longest.min(now + AGAIN);
        } else if goes_on {
            self.at = now + self.grace + UNKILLABLE;
        } else {
            return false;
        }
        true
    }
}

/// How the service of a VM ended that a daemon before this one was about to end.
pub(super) fn had_ended(container: &Container) -> Option<Ended> {
    if container.state != State::Stopping {
        return None;
    }
    let began = container.started_ms.is_some() && container.finished_ms.is_none();
    Some(Ended {
        ran: began,
        code: container.exit_code?,
        error: container.error.clone().filter(|_| !says_halted(container)),
        error_code: container.error_code.clone(),
        oom: container.oom,
        of_the_host: false,
        called_off: false,
        unseen: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halted_vm_has_time_and_then_its_grace() {
        let grace = Duration::from_secs(10);
        let began = Instant::now();
        let mut due = Due::after(grace, began);
        assert_eq!(due.grace_left(began), grace);
        assert_eq!(due.at, began + grace + UNKILLABLE);
        assert!(due.is_put_off(true, due.at));
        let goes_on = due.at;
        assert!(
            due.is_put_off(false, goes_on),
            "it has gone on a moment ago"
        );
        assert_eq!(due.grace_left(goes_on), grace);
        assert!(!due.is_put_off(false, due.at), "it does not end");

        let mut due = Due::after(grace, began);
        while due.is_put_off(true, due.at) {}
        assert_eq!(due.at, began + WRITES_LONGEST);
        let mut at_once = Due::after(Duration::ZERO, began);
        assert!(!at_once.is_put_off(true, at_once.at));
    }

    #[test]
    fn an_end_that_was_begun_is_known() {
        let mut container = Container {
            state: State::Stopping,
            started_ms: Some(1),
            ..Container::default()
        };
        assert!(had_ended(&container).is_none(), "its service may go on");
        container.exit_code = Some(0);
        let ended = had_ended(&container).unwrap();
        assert!(ended.ran && ended.code == 0 && ended.error.is_none());
        container.state = State::Running;
        assert!(had_ended(&container).is_none());
    }
}
