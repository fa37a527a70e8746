//! What must be there before a VM test can run, and where it is.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
}

/// The directory of `stack`, `stackd` and `stack-netd`: `STACK_TEST_BIN`, or
/// where `make build` puts them.
///
/// # Panics
/// Something that `make test` prepares is missing.
pub(crate) fn binaries() -> PathBuf {
    let dir = match std::env::var_os("STACK_TEST_BIN") {
        Some(dir) => PathBuf::from(dir),
        None => workspace().join("target/release"),
    };
    for name in [
        "stack",
        "stackd",
        "stack-netd",
        "stack-fsd",
        "../initramfs.cpio",
    ] {
        let path = dir.join(name);
        assert!(
            path.is_file(),
            "{} is missing: end-to-end tests need `make test`",
            path.display()
        );
    }
    dir
}

/// Address of the registry with the demo's images, `http://127.0.0.1:PORT`.
///
/// # Panics
/// It does not run.
pub fn registry() -> String {
    if let Ok(address) = std::env::var("STACK_REGISTRY_MIRROR") {
        return address;
    }
    let file = workspace().join("target/registry/address");
    let address = std::fs::read_to_string(&file)
        .expect("the test registry does not run: end-to-end tests need `make test`");
    address.trim().to_owned()
}

/// Waits until no other VM test runs; the turn ends with the value.
pub(crate) fn turn() -> File {
    let path = workspace().join("target/e2e.lock");
    let lock = File::create(path).expect("cannot make the lock of the VM tests");
    lock.lock().expect("cannot take the lock of the VM tests");
    lock
}

/// A TCP port that is free now.
///
/// # Panics
/// There is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("no free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// Is this root, who may make mounts and change users?
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
