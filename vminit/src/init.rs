//! Compose's `init: true`: a first process in the service's namespaces that
//! only reaps and passes signals on.

use std::os::fd::OwnedFd;

use stack_protocol::config::Exec;

use crate::child::{self, Refusal};
use crate::{caps, service, sys};

/// Starts the program as a child and stays; never returns when that worked.
pub(crate) fn run(exec: &Exec, reporting: &OwnedFd) -> Refusal {
    // Nothing that comes between the fork and the loop may be lost.
    if let Err(error) = sys::block_all_signals() {
        return error.into();
    }
    match sys::fork(0) {
        Err(error) => error.into(),
        Ok(None) => {
            // A group of its own in the foreground: a key of the terminal
            // signals the program once, not also by way of this process.
            sys::lead_foreground(exec.tty);
            sys::reset_signals();
            let refusal = child::become_process(exec);
            refusal.report(reporting);
            sys::exit_now(refusal.code)
        }
        Ok(Some(main)) => {
            // It lives on without an execve: nothing of the agent's stays.
            sys::close_all_but_standard();
            let kill = 1 << 5;
            let _ = sys::capset(caps::mask(&exec.capabilities, exec.privileged) | kill);
            sys::exit_now(reap_until(main))
        }
    }
}

/// Reaps all, passes signals on, gives the exit code of `main`.
fn reap_until(main: i32) -> i32 {
    loop {
        while let Some((pid, status)) = sys::wait_any() {
            if pid == main {
                return service::exit(status).code;
            }
        }
        match sys::next_signal() {
            Ok(libc::SIGCHLD) | Err(_) => {}
            Ok(signal) => sys::kill(main, signal),
        }
    }
}
