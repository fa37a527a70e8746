//! Clients that write all the time and note what was acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Client;
use crate::stack::Service;

/// Clients of one database.
const CLIENTS: usize = 2;
/// A database is back after so long: a VM starts, its log is replayed, each of
/// its files is looked at. A busy machine without KVM needs most of it.
const BACK: Duration = Duration::from_secs(300);

/// The load on one service.
pub(crate) struct Load {
    service: Service,
    state: Arc<State>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    over: AtomicBool,
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
    last_error: Mutex<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    pub(crate) fn start(service: &Service) -> Load {
        let state = Arc::new(State::default());
        let threads = (0..CLIENTS).map(|_| {
            let (service, state) = (service.clone(), Arc::clone(&state));
            std::thread::spawn(move || write(&service, &state))
        });
        Load {
            service: service.clone(),
            threads: threads.collect(),
            state,
        }
    }

    fn count(&self) -> usize {
        lock(&self.state.acknowledged).len()
    }

    /// Waits until more is acknowledged than now.
    pub(crate) fn goes_on(&self, when: &str) {
        let (began, before) = (Instant::now(), self.count());
        while self.count() < before + 2 * CLIENTS {
            assert!(
                began.elapsed() < BACK,
                "{:?} does not go on {when}: {}",
                self.service,
                lock(&self.state.last_error)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the load: everything acknowledged must be there.
    pub(crate) fn finish(self) {
        self.state.over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("a client has panicked");
        }
        let client = self.service.engine.connect(self.service.port);
        let found = client
            .and_then(|mut client| client.all())
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.service));
        let acknowledged = lock(&self.state.acknowledged);
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(
            lost.is_empty(),
            "{:?} has lost {} of {}: {lost:?}",
            self.service,
            lost.len(),
            acknowledged.len()
        );
        eprintln!(
            "{:?} on {:?}: {} acknowledged, {} there",
            self.service.engine,
            self.service.place,
            acknowledged.len(),
            found.len()
        );
    }
}

fn write(service: &Service, state: &State) {
    let mut client: Option<Client> = None;
    while !state.over.load(Ordering::SeqCst) {
        let n = state.next.fetch_add(1, Ordering::SeqCst);
        let done = match &mut client {
            Some(client) => client.insert(n),
            None => service
                .engine
                .connect(service.port)
                .and_then(|mut connected| {
                    let done = connected.insert(n);
                    client = Some(connected);
                    done
                }),
        };
        match done {
            Ok(()) => {
                lock(&state.acknowledged).insert(n);
            }
            Err(error) => {
                client = None;
                *lock(&state.last_error) = error;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}
