//! What tests know about the machine from those before them, which were processes of
//! their own: what QEMU can do, and whether VMs boot with KVM.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/vm-probe.json")
}

fn own(cache: &Path) -> PathBuf {
    cache.join("probe.json")
}

/// Gives it to a new cache. It says itself what it is true for.
pub(crate) fn tell(cache: &Path) {
    let _ = fs::copy(shared(), own(cache));
}

/// Takes it from one whose backend has looked.
pub(crate) fn learn(cache: &Path) {
    let known = shared();
    let same = || -> io::Result<bool> { Ok(fs::read(&known)? == fs::read(own(cache))?) };
    let partial = known.with_extension(format!("{}.partial", std::process::id()));
    if !same().unwrap_or(false) {
        // Whoever reads it sees all of it or nothing.
        let _ = fs::copy(own(cache), &partial).and_then(|_| fs::rename(&partial, &known));
    }
}

/// What one process found out is there for the next.
#[tokio::test]
async fn one_look_is_enough() {
    if crate::harness::assets().is_none() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let found = crate::harness::backend(cache.path()).probe().await.unwrap();
    // Unsure results are not kept.
    if !own(cache.path()).is_file() {
        return;
    }
    learn(cache.path());
    let next = tempfile::tempdir().unwrap();
    tell(next.path());
    let kept = fs::read(own(next.path())).unwrap();
    assert_eq!(kept, fs::read(own(cache.path())).unwrap());
    let told = crate::harness::backend(next.path()).probe().await.unwrap();
    assert_eq!(told.reason, found.reason);
}
