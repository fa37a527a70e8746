//! How many sockets flows may take, so that some are left for VMs, published
//! ports and the control socket.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Kept free, at most.
const RESERVE: u64 = 256;

/// The process's limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    limit: u64,
}

impl Descriptors {
    /// Raises the limit to all that the host allows.
    pub(super) fn raise() -> Descriptors {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the descriptor limit stays");
            limit = getrlimit(Resource::Nofile);
        }
        Descriptors {
            limit: limit.current.unwrap_or(u64::MAX),
        }
    }

    /// A flow may take another one when `used` are in use.
    pub(super) fn allow(self, used: usize) -> bool {
        used as u64 + RESERVE.min(self.limit / 4) < self.limit
    }
}
