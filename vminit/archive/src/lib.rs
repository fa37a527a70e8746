//! Trees of files as tar streams, between a VM and the host: what `cp` and
//! `export` send, at both ends.
//!
//! The stream is not trusted by whoever unpacks it: no entry gets outside the
//! directory that it was meant for, whatever its name, its links or the links
//! that other entries have made.

mod attributes;
mod changes;
mod entry;
mod memory;
mod pack;
mod stream;
mod unpack;

pub use attributes::Which;
pub use changes::changes;
pub use pack::{Pack, pack};
pub use unpack::{Unpack, unpack};

#[cfg(test)]
mod tests;
