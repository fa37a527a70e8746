//! Clients that write all the time and note what was acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::engine::Client;
use crate::stack::Service;

/// Clients of one database.
const CLIENTS: usize = 2;
/// A database is back after so long: a VM starts, its log is replayed.
const BACK: Duration = Duration::from_secs(150);

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
        self.state.acknowledged.lock().unwrap().len()
    }

    /// Waits until more is acknowledged than now.
    pub(crate) fn goes_on(&self, when: &str) {
        let (began, before) = (Instant::now(), self.count());
        while self.count() < before + 2 * CLIENTS {
            assert!(
                began.elapsed() < BACK,
                "{:?} does not go on {when}: {}",
                self.service,
                self.state.last_error.lock().unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the load: everything acknowledged must be there.
    pub(crate) fn finish(self) {
        self.state.over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let mut client = self.service.engine.connect(self.service.port).unwrap();
        let found = client
            .all()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.service));
        let acknowledged = self.state.acknowledged.lock().unwrap();
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
                state.acknowledged.lock().unwrap().insert(n);
            }
            Err(error) => {
                client = None;
                *state.last_error.lock().unwrap() = error;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}
