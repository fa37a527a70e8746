//! The stack command.
fn main() {}
