//! The file server: directories of the host as virtio-fs devices of VMs
//! (vhost-user protocol; VIRTIO 1.2, 5.11; FUSE kernel ABI 7).
//!
//! Two processes of one program. The **keeper** ([`keeper`]) talks to stackd
//! and to the VMMs and holds what must not be lost: connections, the guest's
//! memory, root directories, open files without a name, and each VM's journal.
//! The **server** ([`server`]) does the work. A server that dies is replaced
//! at once: the new one gets everything from the keeper, reads the journals,
//! and goes on with the requests that were not answered. One server for all
//! VMs of a user, for locks between VMs need one place.
//!
//! A VM has one device whatever it mounts. The top of its file system is a
//! made-up directory with one entry per share, named `0`, `1`…

pub mod control;
mod fs;
mod fuse;
mod keeper;
mod link;
mod placeholder;
mod server;
pub mod spec;

pub use keeper::run as keep;
pub use placeholder::Placeholder;
pub use server::run as serve;

/// Mount tag of a VM's file system.
pub const TAG: &str = "stack";
