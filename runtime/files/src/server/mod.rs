//! The server: takes requests from the guests' queues and carries them out.

pub(crate) mod inflight;
mod left;
pub(crate) mod memory;
mod queue;
mod ring;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::fs::{Common, Fs};
use crate::link::{self, ToKeeper, ToServer};
use inflight::Table;
pub(crate) use left::Left;
use memory::Memory;
use queue::Running;
pub(crate) use queue::{Answer, Request, skip};

struct Vm {
    fs: Arc<Fs>,
    table: Arc<Table>,
    memory: Option<Arc<Memory>>,
    queues: BTreeMap<u32, Running>,
}

/// The way to the keeper.
#[derive(Debug, Clone)]
pub(crate) struct ToTheKeeper(Arc<OwnedFd>);

impl ToTheKeeper {
    /// One that ends here.
    #[cfg(test)]
    pub(crate) fn new(link: OwnedFd) -> ToTheKeeper {
        ToTheKeeper(Arc::new(link))
    }

    /// Sends a message, with a descriptor if there is one.
    pub(crate) fn send(&self, message: &ToKeeper, fd: Option<std::os::fd::BorrowedFd<'_>>) {
        let fds: Vec<_> = fd.into_iter().collect();
        if let Err(error) = link::send(&*self.0, message, &fds) {
            // Without a keeper there is no server.
            tracing::error!(%error, "the keeper does not listen");
        }
    }
}

/// Serves the keeper behind standard input, until it is gone.
///
/// # Errors
/// The link breaks.
pub fn run() -> io::Result<()> {
    let link = Arc::new(std::io::stdin().as_fd().try_clone_to_owned()?);
    let keeper = ToTheKeeper(Arc::clone(&link));
    let common = Common::default();
    let mut vms: BTreeMap<u64, Vm> = BTreeMap::new();
    rustix::process::umask(rustix::fs::Mode::empty());
    while let Some((message, fds)) = link::receive::<ToServer>(&*link)? {
        let vital = vital_to(&message);
        if let Err(error) = take(&mut vms, &keeper, &common, message, fds) {
            tracing::error!(%error, "a VM's file system fails");
            if let Some(session) = vital {
                keeper.send(&ToKeeper::Failed { session }, None);
            }
        }
    }
    Ok(())
}

/// The VM that hangs for ever if this message is not heeded.
fn vital_to(message: &ToServer) -> Option<u64> {
    match message {
        ToServer::Open { session, .. }
        | ToServer::Memory { session, .. }
        | ToServer::Start { session, .. } => Some(*session),
        ToServer::Held { .. } | ToServer::Stop { .. } | ToServer::Close { .. } => None,
    }
}

fn take(
    vms: &mut BTreeMap<u64, Vm>,
    keeper: &ToTheKeeper,
    common: &Common,
    message: ToServer,
    fds: Vec<OwnedFd>,
) -> io::Result<()> {
    let short = || io::Error::other("a descriptor is missing");
    let gone = || io::Error::other("there is no such VM");
    let mut fds = fds.into_iter();
    match message {
        ToServer::Open { session, shares } => {
            let journal = fds.next().ok_or_else(short)?;
            let table = Arc::new(Table::map(fds.next().ok_or_else(short)?)?);
            let roots: Vec<OwnedFd> = fds.collect();
            let fs = Fs::open(
                session,
                shares,
                roots,
                journal,
                keeper.clone(),
                common.clone(),
            )?;
            fs.follow()?;
            let vm = Vm {
                fs,
                table,
                memory: None,
                queues: BTreeMap::new(),
            };
            vms.insert(session, vm);
        }
        ToServer::Held { session, node } => {
            let file = fds.next().ok_or_else(short)?;
            vms.get_mut(&session)
                .ok_or_else(gone)?
                .fs
                .held(node, File::from(file));
        }
        ToServer::Memory { session, regions } => {
            let vm = vms.get_mut(&session).ok_or_else(gone)?;
            vm.memory = Some(Arc::new(Memory::map(&regions, fds.collect())?));
        }
        ToServer::Start { session, ring } => {
            let vm = vms.get_mut(&session).ok_or_else(gone)?;
            let memory = vm.memory.clone().ok_or_else(gone)?;
            let kick = fds.next().ok_or_else(short)?;
            let call = File::from(fds.next().ok_or_else(short)?);
            let index = ring.index;
            // It may be told anew where the memory is: nobody takes from a queue twice.
            if let Some(running) = vm.queues.remove(&index) {
                running.halt();
                running.join();
            }
            let ring = ring::Ring::new(Arc::clone(&memory), ring, Arc::clone(&vm.table), call)?;
            let running = Running::start(ring, memory, kick, Arc::clone(&vm.fs))?;
            vm.queues.insert(index, running);
        }
        ToServer::Stop { session, index } => {
            let vm = vms.get_mut(&session).ok_or_else(gone)?;
            let running = vm.queues.remove(&index);
            let base = match &running {
                Some(running) => running.halt(),
                None => vm.table.next(index as usize),
            };
            let stopped = ToKeeper::Stopped {
                session,
                index,
                base,
            };
            let keeper = keeper.clone();
            after(running.into_iter().collect(), move || {
                keeper.send(&stopped, None);
            });
        }
        ToServer::Close { session } => {
            let vm = vms.remove(&session).ok_or_else(gone)?;
            let queues: Vec<Running> = vm.queues.into_values().collect();
            for running in &queues {
                running.halt();
            }
            // Others need not wait for a request that hangs; what it does in the
            // end goes, too.
            vm.fs.close();
            after(queues, move || vm.fs.close());
        }
    }
    Ok(())
}

/// Waits for the end of halted queues on a thread, for a request may hang with a
/// file system of the host's, and does something then.
fn after(queues: Vec<Running>, act: impl FnOnce() + Send + 'static) {
    let wait = move || {
        for running in queues {
            running.join();
        }
        act();
    };
    // Without room for a thread the keeper waits for a while, and goes on.
    if let Err(error) = std::thread::Builder::new().spawn(wait) {
        tracing::error!(%error, "nobody waits for a queue's end");
    }
}
