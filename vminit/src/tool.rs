//! What the agent does beside a service in its own code, as an exec session:
//! it sees the service's files as the service does and needs no program of
//! the image.

mod sync;

use std::io::{self, BufReader, BufWriter, Write};

use stack_protocol::config::{Exec, Tool};

use crate::child::Refusal;
use crate::{sys, users};

/// Runs in the child, in the service's namespaces. Returns only when it
/// cannot begin.
pub(crate) fn run(tool: Tool, exec: &Exec) -> Refusal {
    let owner = match users::look_up(&exec.user, &exec.groups) {
        Ok(who) => (who.uid, who.gid),
        Err(message) => return Refusal::new(126, message),
    };
    // Nothing of the agent's stays open, above all not the other end of its
    // own input. The pipe for a refusal goes with it: the tool runs.
    sys::close_all_but_standard();
    let input = BufReader::with_capacity(64 << 10, io::stdin());
    let output = BufWriter::new(io::stdout());
    let result = match tool {
        Tool::Sync => sync::run(input, output, owner),
    };
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            1
        }
    };
    sys::exit_now(code)
}
