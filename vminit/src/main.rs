//! PID 1 and agent inside a micro-VM.
fn main() {}
