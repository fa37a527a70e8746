//! What the agent does itself in place of a program, in a child that has
//! entered the service's namespaces (but for what is below what the service sees: what
//! it has changed, and its volumes' disks): files go in and out of images that have
//! neither a shell nor tar.

mod listen;
mod sync;

use std::io::{self, BufReader, BufWriter};

use stack_archive::{Pack, Unpack, Which, changes, pack, unpack};
use stack_protocol::config::{Builtin, Exec};

use crate::child::Refusal;
use crate::rootfs::UPPER;
use crate::{sys, users};

/// Bytes that are read or written at once.
const BUFFER: usize = 64 << 10;

/// Does it and ends the child. Returns only when it cannot begin.
pub(crate) fn run(builtin: &Builtin, exec: &Exec) -> Refusal {
    let who = match users::look_up(&exec.user, &exec.groups) {
        Ok(who) => who,
        Err(message) => return Refusal::new(126, message),
    };
    // The pipe for the report of the start is among them: its end says that
    // this has begun.
    sys::close_all_but_standard();
    let result = match builtin {
        Builtin::Idle => loop {
            nix::unistd::pause();
        },
        Builtin::Listen { path } => listen::run(path.as_ref()),
        Builtin::Pack {
            path,
            name,
            follow,
            one_file_system,
            top,
            outside: _,
        } => {
            let order = Pack {
                path: path.into(),
                name: name.clone(),
                follow: *follow,
                one_file_system: *one_file_system,
                top: *top,
                attributes: Which::All,
            };
            pack(&order, BufWriter::with_capacity(BUFFER, io::stdout()))
        }
        Builtin::Changes { places } => {
            let out = BufWriter::with_capacity(BUFFER, io::stdout());
            changes(std::path::Path::new(UPPER), places, out)
        }
        Builtin::Sync => {
            let input = BufReader::with_capacity(BUFFER, io::stdin());
            sync::run(input, BufWriter::new(io::stdout()), (who.uid, who.gid))
        }
        Builtin::Unpack {
            path,
            tree,
            contents,
            owners,
            directories,
            outside: _,
            lasting,
        } => {
            let order = Unpack {
                path: path.into(),
                tree: *tree,
                contents: *contents,
                owners: *owners,
                directories: *directories,
                attributes: Which::All,
                lasting: *lasting,
                // What comes was packed by the host.
                name: None,
            };
            let mut stream = BufReader::with_capacity(BUFFER, io::stdin());
            unpack(&order, &mut stream).and_then(|()| {
                // The end of the stream may be followed by padding.
                io::copy(&mut stream, &mut io::sink()).map(drop)
            })
        }
    };
    match result {
        Ok(()) => sys::exit_now(0),
        Err(error) => {
            eprintln!("{error}");
            sys::exit_now(1)
        }
    }
}
