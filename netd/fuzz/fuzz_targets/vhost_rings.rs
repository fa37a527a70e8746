//! `cargo fuzz run vhost_rings`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stack_netd::fuzzing::vhost_rings(bytes));
