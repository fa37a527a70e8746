//! UDP between guests and the host, sans-IO: who stands for whom, and for how
//! long.

mod outbound;
mod session;

pub(crate) use outbound::Associations;
pub(crate) use session::{PORTS as GATEWAY_PORTS, Sessions};

#[cfg(test)]
mod tests;
