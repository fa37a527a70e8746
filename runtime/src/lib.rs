//! Runs the micro-VMs: the library behind `stackd`.
//!
//! One daemon per user. It owns no VM: QEMU and `stack-netd` processes live
//! in sessions of their own and outlive it; what it must know to find them
//! again is in the [`ledger`]. It never reads a stack file: specs come from
//! the client through the [`api`].

pub mod api;
pub mod assets;
pub mod container;
pub mod daemon;
pub mod host;
pub mod key;
pub mod ledger;
pub mod logs;
pub mod network;
pub mod paths;
pub mod progress;
pub mod space;
pub mod stack;
pub mod time;
pub mod volume;
