//! The task that drives one container: level-triggered, it brings about the
//! last wish and nothing else changes the container's state.

use std::sync::Arc;
use std::time::Duration;

use stack_api::container::State;
use stack_api::spec::Restart;

use tokio::sync::watch;

use super::run::{self, Ended};
use super::{Handle, Wish};
use crate::daemon::Daemon;
use crate::time::now_ms;

/// First pause before an automatic restart, where the policy says none;
/// doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A run this long starts the pauses over.
const GOOD_RUN_MS: u64 = 10_000;

/// Pause before a driver that broke off is started again.
const ANEW: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 1 });

/// Starts the driver. It ends after [`Wish::Gone`].
pub fn spawn(daemon: Arc<Daemon>, handle: Arc<Handle>) {
    tokio::spawn(async move {
        let driven = outlasting(&handle.id, || {
            let (daemon, handle) = (Arc::clone(&daemon), Arc::clone(&handle));
            async move {
                // Whoever talked to its VM has gone.
                handle.agent.send_replace(None);
                drive(&daemon, &handle).await;
            }
        });
        tokio::select! {
            () = driven => {}
            () = handle.keep_recorded() => {}
        }
        handle.ended.send_replace(true);
        handle.logged.notify_waiters();
    });
}

/// Does something to its end, from its beginning again if it panics, as where the
/// host has no thread left: nobody else would ever do it.
pub(crate) async fn outlasting<F>(what: &str, mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = tokio::spawn(begin()).await {
        if !error.is_panic() {
            // The daemon ends.
            return;
        }
        tracing::error!(%error, what, "broken off: it is begun again");
        tokio::time::sleep(ANEW).await;
    }
}

async fn drive(daemon: &Arc<Daemon>, handle: &Arc<Handle>) {
    let mut wish = handle.wish.subscribe();
    let mut pause = rest_of_pause(handle, &mut wish).await;
    // A policy has it started, or this daemon at its own start: nobody waits
    // for an answer.
    let mut automatic = *wish.borrow() == Wish::Run(0);
    // A VM from before the daemon's start is taken over, whatever is wished.
    let vm = daemon.paths.vm(&handle.id);
    let mut adopt =
        handle.record().process.is_some() || stack_vmm::surely_leftover(&vm).await.is_some();
    loop {
        let serving = wish.borrow_and_update().clone();
        match serving {
            _ if adopt => {}
            Wish::Run(_) => {}
            Wish::Gone => return,
            Wish::Stop { .. } => {
                settle(handle);
                if wish.changed().await.is_err() {
                    return;
                }
                continue;
            }
        }
        let ended = run::once(daemon, handle, std::mem::take(&mut adopt)).await;
        // Also what it ran before this daemon took it over.
        let started = handle.container().started_ms.filter(|_| ended.ran);
        let ran_ms = started.map_or(0, |started| now_ms().saturating_sub(started));
        if ran_ms > GOOD_RUN_MS {
            pause = FIRST_PAUSE;
        }
        if succeeded(handle, ran_ms) {
            handle.update(|record| record.attempts = 0);
        }
        let fixed = handle.record().spec.retry.delay_ms;
        if let Some(fixed) = fixed {
            pause = Duration::from_millis(fixed);
        }
        // One that comes from now on ends the pause.
        let now = wish.borrow_and_update().clone();
        let again = matches!(now, Wish::Run(_)) && wants_restart(handle, &ended, automatic);
        record_end(handle, &ended, &serving, again.then_some(pause));
        handle.logged.notify_waiters();
        if handle.record().remove_at_end && !again {
            tokio::spawn(crate::stack::reap(Arc::clone(daemon), Arc::clone(handle)));
        }
        automatic = again;
        if !again {
            // The wish has been served: do not start until a new one comes.
            handle.wish.send_if_modified(|wish| {
                let served = matches!(wish, Wish::Run(_)) && *wish == serving;
                if served {
                    *wish = handle.record().stop_wish();
                }
                served
            });
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {
                if fixed.is_none() {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            // Somebody wants something: that is no flapping.
            _ = wish.changed() => {
                pause = FIRST_PAUSE;
                automatic = false;
            }
        }
    }
}

/// A daemon before this one may have ended during a pause: it goes on from
/// there. Gives the length of the next one.
async fn rest_of_pause(handle: &Handle, wish: &mut watch::Receiver<Wish>) -> Duration {
    let container = handle.container();
    let (State::Restarting, Some(next), Some(ended)) = (
        container.state,
        container.next_start_ms,
        container.finished_ms,
    ) else {
        return FIRST_PAUSE;
    };
    let pause = Duration::from_millis(next.saturating_sub(ended));
    let pause = match handle.record().spec.retry.delay_ms {
        Some(_) => pause,
        None => pause.min(LONGEST_PAUSE),
    };
    let left = Duration::from_millis(next.saturating_sub(now_ms())).min(pause);
    if *wish.borrow_and_update() != Wish::Run(0) {
        return FIRST_PAUSE;
    }
    tokio::select! {
        () = tokio::time::sleep(left) => (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE),
        _ = wish.changed() => FIRST_PAUSE,
    }
}

/// No run is wished for, and none goes on: a start that was called off
/// before it began leaves no trace.
fn settle(handle: &Handle) {
    let record = handle.record();
    if record.container.state.is_live() && record.process.is_none() {
        handle.update(|record| {
            let never = record.container.started_ms.is_none();
            let is_starting = record.container.state == State::Starting;
            record.container.state = if never { State::Created } else { State::Exited };
            record.container.next_start_ms = None;
            record.called_off |= is_starting;
        });
    }
}

/// `automatic`: nobody has asked for the start that this was the end of.
fn wants_restart(handle: &Handle, ended: &Ended, automatic: bool) -> bool {
    let record = handle.record();
    // What never came up will not by itself, unless it was the host: it had
    // come up there before.
    let may_come_up = automatic && ended.of_the_host && record.container.started_ms.is_some();
    if (!ended.ran && !may_come_up) || record.told_to_end {
        return false;
    }
    let most = |max: Option<u32>| {
        let max = record.spec.retry.max_attempts.or(max);
        max.is_none_or(|max| record.attempts < max)
    };
    match record.spec.restart {
        Restart::No => false,
        Restart::Always | Restart::UnlessStopped => most(None),
        Restart::OnFailure { max } => ended.code != 0 && most(max),
    }
}

/// It has run for so long that its restart policy takes the start for a
/// success.
fn succeeded(handle: &Handle, ran_ms: u64) -> bool {
    let record = handle.record();
    let window = record.spec.retry.window_ms;
    window > 0 && ran_ms >= window && record.attempts > 0
}

/// `serving`: the wish that it ran for; `pause`: how long until it is started
/// again, if it is.
fn record_end(handle: &Handle, ended: &Ended, serving: &Wish, pause: Option<Duration>) {
    handle.update(|record| {
        let container = &mut record.container;
        let now = now_ms();
        let again = pause.is_some();
        container.next_start_ms = pause.map(|pause| now + pause.as_millis() as u64);
        if again {
            container.restarts += 1;
            // What is none of the service's failures uses up none of its attempts.
            record.attempts += u32::from(!ended.unseen);
        } else {
            // Unless somebody has asked for another start meanwhile.
            let wish = handle.wish.borrow();
            record.wanted = matches!(*wish, Wish::Run(_)) && *wish != *serving;
        }
        container.state = match (again, ended.ran) {
            (true, _) => State::Restarting,
            (false, true) => State::Exited,
            // As if it had been called off before it began.
            (false, false) if ended.called_off => match (record.wanted, container.started_ms) {
                (true, _) => State::Starting,
                (false, None) => State::Created,
                (false, Some(_)) => State::Exited,
            },
            (false, false) => State::Dead,
        };
        record.called_off = ended.called_off;
        let before = record.exit_before.take();
        if ended.called_off {
            // How its last run ended is still so.
            container.exit_code = container.exit_code.or(before);
            container.error = None;
            container.error_code = None;
        } else {
            container.exit_code = Some(ended.code);
            container.error.clone_from(&ended.error);
            container.error_code.clone_from(&ended.error_code);
            container.finished_ms = Some(now);
        }
        container.oom = ended.oom;
        container.health = None;
        container.ports.clear();
        container.pid = None;
        record.process = None;
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_panics_is_begun_again() {
        let begun = Arc::new(AtomicU32::new(0));
        outlasting("a test", || {
            let begun = Arc::clone(&begun);
            async move {
                let before = begun.fetch_add(1, Ordering::Relaxed);
                assert!(before == 2, "no thread left");
            }
        })
        .await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }
}
