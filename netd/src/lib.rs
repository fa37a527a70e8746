//! The network daemon: switches, names and published ports, without root.
//!
//! One process serves one stack. Each network is a switch with a static
//! table, and behind it a gateway that answers ARP, ping and DNS and joins
//! the guests' TCP and UDP flows to ordinary sockets of the host.
//!
//! ```text
//!   VM ──frames──┐                  ┌── arp, icmp, dns
//!   VM ──frames──┼── switch ── gateway── tcp splice ── host sockets
//!   VM ──frames──┘                  └── udp relay  ── host sockets
//! ```
//!
//! Everything but the `io` module is sans-IO: it is handed frames and the time,
//! and hands back frames and events. It never reads a stack file and never
//! needs root.

pub mod config;
#[cfg(target_os = "linux")]
mod confine;
pub mod control;
mod counters;
mod dns;
#[cfg(any(test, feature = "fuzzing"))]
mod exercise;
mod fabric;
mod frame;
mod ids;
mod io;
mod noise;
mod offload;
mod pcapng;
mod tcp;
mod timers;
mod udp;
mod wire;

#[cfg(target_os = "linux")]
#[doc(hidden)]
pub use confine::confine;

/// Entry points for the fuzzer (`netd/fuzz`).
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    /// Frames from guests: everything that they are parsed by.
    pub fn frames(bytes: &[u8]) {
        crate::exercise::frames(bytes);
    }

    /// A guest that talks to a host by TCP.
    pub fn conversation(bytes: &[u8]) {
        crate::exercise::talk(bytes);
    }

    /// A guest's rings, and what is done with them.
    #[cfg(target_os = "linux")]
    pub fn vhost_rings(bytes: &[u8]) {
        crate::io::exercise_rings(bytes);
    }
}

pub use io::{Options, run};
