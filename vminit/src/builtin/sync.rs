//! Makes files of the container what they are on the host
//! ([`stack_protocol::sync`]).

mod aside;
mod compare;
mod last;
mod list;
mod place;
mod remove;
mod rename;
mod settle;
mod stage;

use std::io::{self, Read, Write};
use std::path::PathBuf;

use stack_protocol::sync::{FromGuest, Outcome, ToGuest, read, write};

use place::Target;
use settle::Settler;
use stage::Stage;

/// One batch after the other, until the host ends the conversation.
pub(crate) fn run(
    mut input: impl Read,
    mut output: impl Write,
    owner: (u32, u32),
) -> io::Result<()> {
    // Files are made with the mode that they are to have.
    rustix::process::umask(rustix::fs::Mode::empty());
    let most_held = hold_many();
    let mut target = Target::default();
    let mut stage: Option<Stage> = None;
    let settler = Settler::start();
    while let Some(message) = read(&mut input)? {
        match message {
            ToGuest::Begin { target: to, exact } => {
                let path = PathBuf::from("/").join(to);
                target = Target { path, exact };
                stage = None;
            }
            ToGuest::Compare { items } => {
                let answers = items
                    .iter()
                    .map(|item| compare::answer(&target, item))
                    .collect();
                write(&mut output, &FromGuest::Compared { answers })?;
                output.flush()?;
            }
            ToGuest::List => {
                list::answer(&target.path, &mut output)?;
                output.flush()?;
            }
            ToGuest::Put { item, expected } => stage
                .get_or_insert_with(|| Stage::new(&target, owner, most_held))
                .put(item, expected, &mut input)?,
            ToGuest::Remove { path, expected } => stage
                .get_or_insert_with(|| Stage::new(&target, owner, most_held))
                .remove(path, expected),
            ToGuest::Commit => {
                let outcome = stage.as_mut().map_or_else(Outcome::default, Stage::commit);
                write(&mut output, &FromGuest::Committed(outcome))?;
                output.flush()?;
                // The rest is nobody's wait.
                if let (Some(disk), replaced) =
                    stage.take().map_or_else(Default::default, Stage::into_rest)
                {
                    settler.write_back(disk, replaced);
                }
            }
        }
    }
    settler.end();
    Ok(())
}

/// As many files as it may have can be open. Gives how many a batch may hold: some
/// batches follow each other, and other files are to be opened.
fn hold_many() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, raised);
    let most = limit.maximum.map_or(u64::MAX, |most| most / 8);
    usize::try_from(most.min(20_000)).unwrap_or_default()
}
