//! A world of its own for each end-to-end test: a [`Home`] with a daemon,
//! images and VMs that nobody else sees, driven through the real command.
//!
//! The tests need what `make test` prepares: release binaries, kernel,
//! initramfs and the registry with the demo's images. Without it they fail
//! and say so. VM tests take turns, across processes, for they share the
//! machine's cores.

mod command;
mod faulty_registry;
mod home;
mod http;
mod machine;
mod processes;
mod project;
mod setup;

pub use command::Finished;
pub use faulty_registry::{Fault, FaultyRegistry};
pub use home::Home;
pub use http::{get, post_form, try_get};
pub use processes::Running;
pub use project::{Begun, Project};
pub use setup::{free_port, is_root, registry, workspace};

use std::time::{Duration, Instant};

/// Asks again until `check` gives a value, at most `seconds`.
///
/// # Panics
/// It never did; `what` says what was waited for.
pub fn eventually<T>(what: &str, seconds: u64, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {seconds} s in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}
