//! Sockets and the clock: the only part that does IO.
//!
//! One thread, one poller. [`event_loop`] hands what arrives to the
//! [`Fabric`](crate::fabric::Fabric) and does what that wants; the other
//! files know one kind of socket each.

mod apply;
mod association;
mod control_server;
mod descriptors;
mod event_loop;
mod forwarding;
mod frame_port;
#[cfg(target_os = "linux")]
mod holder;
mod host;
mod host_stream;
mod life;
mod listener;
mod local_listener;
mod local_stream;
mod mmsg;
mod port;
mod presence;
mod publish;
mod resolver;
mod socket_errors;
mod sources;
mod store;
mod taps;
#[cfg(target_os = "linux")]
mod vhost;
mod wildcard;

#[cfg(all(target_os = "linux", feature = "fuzzing"))]
pub(crate) use vhost::exercise::run as exercise_rings;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How the daemon is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The control socket to serve.
    pub control: PathBuf,
    /// Where the last applied configuration is kept.
    pub config: PathBuf,
    /// Resolvers to use in place of those in `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
}

/// Serves until it is told to stop, by a request or by SIGTERM or SIGINT.
///
/// # Errors
/// Somebody else serves the control socket, or the sockets and files that the
/// daemon itself needs cannot be used.
pub fn run(options: &Options) -> io::Result<()> {
    let descriptors = descriptors::Descriptors::raise();
    let daemon = event_loop::Loop::new(options, descriptors)?;
    #[cfg(target_os = "linux")]
    if let Err(error) = crate::confine::confine() {
        tracing::warn!(%error, "the kernel does not confine the daemon");
    }
    daemon.run()
}
