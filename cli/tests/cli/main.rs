//! The command as a user meets it, against a daemon whose answers are
//! scripted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod config;
mod diagnostics;
mod exec;
mod fake;
mod files;
mod help;
mod home;
mod images;
mod lock;
mod logs;
mod ps;
mod remote;
mod start;
mod stored;
#[cfg(target_os = "linux")]
mod terminal;
mod tools;
mod up;
mod watch;
