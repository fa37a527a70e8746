//! The types of the `stackd` API: what the planner makes, the client sends
//! and the daemon stores.
//!
//! HTTP/1.1 over a unix socket, JSON bodies, `/v1/…` paths; long-running
//! calls answer with newline-delimited [`event::Event`]s. The routes are
//! listed in [`routes`].

pub mod build;
pub mod container;
pub mod debug;
pub mod event;
pub mod history;
pub mod hook;
pub mod image;
pub mod journal;
pub mod logging;
pub mod logs;
pub mod look;
pub mod network;
pub mod request;
pub mod retry;
pub mod rollout;
pub mod routes;
pub mod run;
pub mod seccomp;
pub mod settings;
pub mod spec;
pub mod system;
pub mod volume;
