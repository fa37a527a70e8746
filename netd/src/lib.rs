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
pub mod control;
mod counters;
mod dns;
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

pub use io::{Options, run};
