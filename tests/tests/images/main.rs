//! Images that go elsewhere and come back, and disk space that is free again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod cut;
mod space;
mod tls;
mod travel;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use stack_tests::Home;

/// Bytes on the disk of all files in a directory of a home.
fn blocks(home: &Home, below: &str) -> u64 {
    let dir = home.dir().join("home").join(below);
    let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.blocks() * 512)
        .sum()
}

/// Bytes on the disk of one file.
fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

/// A service that runs until it is stopped.
const SLEEPER: &str = r#"services:
  app:
    image: busybox:1
    command: ["sleep", "infinity"]
    stop_grace_period: 0s
"#;
