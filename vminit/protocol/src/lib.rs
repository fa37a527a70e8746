//! What the host and the agent inside a micro-VM say to each other.
//!
//! One byte stream (a virtio-serial port named [`PORT_NAME`]) carries
//! [`frame`]s in both directions. Control frames hold one JSON message each:
//! a [`Request`](message::Request) from the host, a
//! [`Reply`](message::Reply) or an [`Event`](message::Event) from the guest.
//! Data frames hold the bytes of an `exec` session, log frames one piece of
//! the service's output.
//!
//! The host may go away at any time and come back (another process, even):
//! see [`frame::Preamble`].

mod bytes;
pub mod capability;
pub mod config;
pub mod frame;
pub mod log;
pub mod message;
pub mod signal;
pub mod sync;
pub mod template;
pub mod tunnel;

/// Name of the virtio-serial port, as in
/// `/sys/class/virtio-ports/*/name` inside the guest.
pub const PORT_NAME: &str = "stack.agent";

/// Version of this protocol. The host refuses an agent that speaks another.
pub const VERSION: u32 = 1;
