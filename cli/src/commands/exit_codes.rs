//! `stack exit-codes`, mostly for `stack help exit-codes`.

use crate::error::Error;
use crate::{exit, ui};

const TEXT: &str = "\
  0   it worked
  1   it failed, for a reason without a code of its own
  2   the command line makes no sense
 14   there is no stack file
 15   the stack file has errors
 16   stack.lock is missing or does not fit the stack file
 17   an image cannot be built
 18   an image cannot be had
 20   a service failed, or was not ready in time (up, --wait)
 21   stackd cannot be started or reached, or this machine cannot run VMs
 22   a port of the host is taken, or not for this user
 23   the host has too little memory
 24   the host's disk is full
130   ended by Ctrl-C

exec and run end with the exit code of their command: 126 when it cannot be
executed, 127 when it is not found, 128 and the signal's number when one killed
it; when it was not reached, with one of the above. up
with --exit-code-from or --abort-on-container-exit ends with the service's;
plan --detailed-exitcode with 2 when something would change.
";

/// What the exit codes mean
#[derive(Debug, clap::Args)]
#[command(
    after_help = format!(
        "{TEXT}\nExample: tell a slow service from a broken file\n  \
         stack up -d --wait --wait-timeout 60; echo $?"
    )
)]
pub(crate) struct ExitCodes {}

impl ExitCodes {
    pub(super) fn run(self) -> Result<u8, Error> {
        ui::print(TEXT)?;
        Ok(exit::OK)
    }
}
