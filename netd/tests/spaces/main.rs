//! The daemon with real kernels as its guests: network namespaces whose
//! network cards are taps, and the tools that users would try.
//!
//! Needs root (or a user namespace with network administration) and the
//! tools that tests/setup/packages.sh installs. Where they lack, the tests
//! are ignored, not passed, and say why; with `STACK_REQUIRE_VM=1` they fail.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests live in real time, and end when something is missing"
)]
#![allow(
    clippy::print_stderr,
    reason = "a test that does not run has to say so"
)]

mod gateway;
mod kit;
mod leaks;
mod names;
mod published;
mod sizes;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let mut arguments = Arguments::from_args();
    // Each has a daemon and some ten processes.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let tests = [
        gateway::TESTS,
        leaks::TESTS,
        names::TESTS,
        published::TESTS,
        sizes::TESTS,
    ]
    .concat();
    let obstacle = kit::obstacle();
    let required = std::env::var_os("STACK_REQUIRE_VM").is_some();
    if let Some(why) = &obstacle
        && !arguments.list
    {
        eprintln!("the tests in network namespaces do not run here: {why}");
    }
    let trials = tests.into_iter().map(|(name, test)| {
        let obstacle = obstacle.clone();
        let ignored = obstacle.is_some() && !required;
        let run = move || match obstacle {
            Some(why) => Err(Failed::from(why)),
            None => {
                test();
                Ok(())
            }
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// A test and what it is called.
pub(crate) type Test = (&'static str, fn());

/// The tests of a module, by the names of their functions.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::Test] = &[
            $((concat!(module_path!(), "::", stringify!($name)), $name as fn())),*
        ];
    };
}
