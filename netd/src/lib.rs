//! The network daemon: switches, names and published ports, without root.
