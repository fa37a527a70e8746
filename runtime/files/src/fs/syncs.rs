//! Waiting for the disk, on threads of its own: so that no other request of the VM
//! waits for it, and no VM takes more than its part of the server's threads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::guard;
use crate::fuse::Res;
use crate::server::Answer;

/// Threads that one VM may have wait.
const MOST: usize = 16;

type Job = Box<dyn FnOnce() + Send>;

/// What a VM waits for.
#[derive(Default)]
pub(super) struct Syncs(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    threads: usize,
    waiting: VecDeque<Job>,
}

impl std::fmt::Debug for Syncs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = guard(&self.0);
        write!(f, "{} + {}", queue.threads, queue.waiting.len())
    }
}

impl Syncs {
    /// Does it on a thread, when there is one, and answers then.
    pub(super) fn take(&self, answer: Answer, act: impl FnOnce() -> Res<()> + Send + 'static) {
        let answer = answer.short();
        self.put(Box::new(move || answer.give(act().map(|()| Vec::new()))));
    }

    fn put(&self, job: Job) {
        let mut queue = guard(&self.0);
        queue.waiting.push_back(job);
        if queue.threads >= MOST {
            return;
        }
        queue.threads += 1;
        drop(queue);
        let own = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().stack_size(128 << 10);
        if thread.spawn(move || work(&own)).is_err() {
            // No room for a thread: then here.
            work(&self.0);
        }
    }
}

/// Does what waits.
fn work(queue: &Mutex<Queue>) {
    loop {
        let job = {
            let mut queue = guard(queue);
            let job = queue.waiting.pop_front();
            if job.is_none() {
                queue.threads -= 1;
            }
            job
        };
        match job {
            Some(job) => job(),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_machine_has_so_many_threads_and_all_is_done() {
        let syncs = Syncs::default();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let (began, begun) = mpsc::channel();
        let all = 3 * MOST;
        for n in 0..all {
            let (gate, began) = (Arc::clone(&gate), began.clone());
            syncs.put(Box::new(move || {
                began.send(n).unwrap();
                let _ = guard(&gate).recv();
            }));
        }
        let wait = Duration::from_secs(10);
        for _ in 0..MOST {
            begun.recv_timeout(wait).unwrap();
        }
        // The others wait for a thread.
        assert!(begun.recv_timeout(Duration::from_millis(200)).is_err());
        drop(go);
        for _ in MOST..all {
            begun.recv_timeout(wait).unwrap();
        }
        while guard(&syncs.0).threads > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // One that comes later finds a thread again.
        syncs.put(Box::new(move || began.send(0).unwrap()));
        begun.recv_timeout(wait).unwrap();
    }
}
