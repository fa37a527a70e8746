//! What a user is told when something is wrong: one test for each thing. A
//! failure is told in words, ends with a code of its own and leaves nothing
//! running.

mod file;
mod full;
mod image;
mod machine;
mod service;
mod wait;

/// A stack file with one service that would run for ever.
fn one_service(image: &str) -> String {
    format!("services:\n  box:\n    image: {image}\n    command: sleep 1000\n")
}
