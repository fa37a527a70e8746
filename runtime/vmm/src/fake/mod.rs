//! VMs that are tasks of this process: for tests, and for a machine that
//! can run none (`STACK_BACKEND=fake`). The agent's socket and protocol are
//! the real ones; what is made up is the guest.
//!
//! The service's arguments are its script:
//!
//! | arguments | what the service does |
//! |---|---|
//! | `exit N` | ends at once with code N |
//! | `run MS N` | ends after MS milliseconds with code N |
//! | `busy MS N` | the same, and never waits for anything until then |
//! | `say TEXT…` | writes each TEXT as a line, then goes on |
//! | `missing …` | cannot be started: exit code 127 |
//! | `mute` | writes a line each millisecond; its VM reads nothing any more |
//! | `stubborn …` | goes on after a stop signal, until it is killed |
//! | anything else | goes on until it is stopped |
//!
//! A health check passes unless its last word is `false`.

mod guest;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::{Backend, Error, Process, VmSpec};

/// Ids of made-up processes begin here, beyond any real one
/// (`PID_MAX_LIMIT` is 2²²).
const FIRST_PID: u32 = 1 << 30;

/// Made-up VMs.
#[derive(Debug, Default)]
pub struct Fake {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Alive as long as the value is `true`.
    vms: BTreeMap<u32, watch::Sender<bool>>,
    failures: VecDeque<String>,
    /// So many of the next VMs never come up.
    hangs: usize,
    started: Vec<VmSpec>,
}

impl Fake {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next start fails with this message.
    pub fn fail_next_start(&self, message: &str) {
        self.state().failures.push_back(message.to_owned());
    }

    /// The next VM starts and never comes up.
    pub fn hang_next_boot(&self) {
        self.state().hangs += 1;
    }

    /// Names of the VMs in the order of their starts.
    pub fn started(&self) -> Vec<String> {
        let state = self.state();
        state.started.iter().map(|spec| spec.name.clone()).collect()
    }

    /// What the VMs were made of, in the order of their starts.
    pub fn specs(&self) -> Vec<VmSpec> {
        self.state().started.clone()
    }

    fn life(&self, process: &Process) -> Option<watch::Receiver<bool>> {
        self.state()
            .vms
            .get(&process.pid)
            .map(watch::Sender::subscribe)
    }
}

impl Backend for Fake {
    async fn start(&self, spec: &VmSpec) -> Result<Process, Error> {
        let alive = watch::Sender::new(true);
        let (pid, hangs) = {
            let mut state = self.state();
            if let Some(message) = state.failures.pop_front() {
                return Err(Error::Start(message));
            }
            state.started.push(spec.clone());
            let pid = FIRST_PID + state.started.len() as u32;
            state.vms.insert(pid, alive.clone());
            let hangs = state.hangs > 0;
            state.hangs = state.hangs.saturating_sub(1);
            (pid, hangs)
        };
        if hangs {
            return Ok(Process { pid, start_time: 0 });
        }
        let socket = spec.dir.join("agent.sock");
        let listener = tokio::net::UnixListener::bind(&socket)
            .map_err(Error::io(socket.display().to_string()))?;
        tokio::spawn(guest::Guest::new(alive).serve(listener));
        Ok(Process { pid, start_time: 0 })
    }

    fn alive(&self, process: &Process) -> bool {
        self.life(process).is_some_and(|alive| *alive.borrow())
    }

    fn wait(&self, process: &Process) -> impl Future<Output = ()> + Send {
        let life = self.life(process);
        async move {
            if let Some(mut life) = life {
                let _ = life.wait_for(|alive| !alive).await;
            }
        }
    }

    fn kill(&self, process: &Process) {
        if let Some(alive) = self.state().vms.get(&process.pid) {
            alive.send_replace(false);
        }
    }
}
