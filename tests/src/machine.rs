//! What tests know about the machine from those before them: whether it has KVM
//! and what QEMU can do, and templates of VMs. As for a user, who has them from the
//! second `stack up` on.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use crate::setup;

/// What the daemon keeps of its look at QEMU.
const PROBE: &str = "cache/probe.json";

fn shared() -> PathBuf {
    setup::workspace().join("target/e2e")
}

/// Gives it to a new home.
///
/// # Panics
/// Its cache cannot be made.
pub(crate) fn tell(home: &Path) {
    let templates = shared().join("templates");
    let private = |dir: &Path| DirBuilder::new().recursive(true).mode(0o700).create(dir);
    private(&home.join("cache"))
        .and_then(|()| private(&templates))
        .and_then(|()| symlink(templates, home.join("cache/templates")))
        .expect("cannot make the home's cache");
    let _ = fs::copy(shared().join("probe.json"), home.join(PROBE));
}

/// Takes it from one whose daemon has ended. It says itself what it is true for.
pub(crate) fn learn(home: &Path) {
    let (known, partial) = (shared().join("probe.json"), shared().join("probe.partial"));
    let copied = || -> io::Result<()> {
        fs::copy(home.join(PROBE), &partial)?;
        fs::rename(&partial, &known)
    };
    // A home in which nothing was started has found out nothing.
    if home.join(PROBE).is_file() {
        let _ = copied();
    }
}
