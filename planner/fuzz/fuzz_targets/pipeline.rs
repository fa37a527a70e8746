//! `cargo fuzz run pipeline`
#![no_main]

#[path = "../pipeline.rs"]
mod pipeline;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pipeline::run(bytes));
