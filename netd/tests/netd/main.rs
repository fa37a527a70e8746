//! The daemon with guests that speak frames to it: smoltcp is their TCP/IP
//! stack, two datagram sockets are their network card.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests live in real time, and end when something is missing"
)]

#[cfg(target_os = "linux")]
mod confined;
mod guest;
mod kit;
mod lifecycle;
mod load;
mod names;
mod presence;
mod publish;
mod sockets;
mod switch;
mod tcp;
mod udp;
#[cfg(target_os = "linux")]
mod vhost;
#[cfg(target_os = "linux")]
#[path = "../support/vhost_card.rs"]
#[allow(dead_code, reason = "an example shares it")]
mod vhost_card;
#[cfg(target_os = "linux")]
mod vhost_hostile;
