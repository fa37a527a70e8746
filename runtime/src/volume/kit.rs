//! A daemon without machines, for tests.

use std::path::Path;
use std::sync::Arc;

use stack_vmm::{AnyBackend, Fake};

use crate::assets::Assets;
use crate::daemon::Daemon;
use crate::paths::Paths;

/// With everything below `home`.
pub(crate) async fn daemon(home: &Path, machines: Fake) -> Arc<Daemon> {
    let none = home.join("none");
    let assets = Assets {
        kernel: none.clone(),
        initramfs: none.clone(),
        netd: none.clone(),
        fsd: none,
        templates: true,
    };
    let paths = Paths::under(home).unwrap();
    let backend = AnyBackend::Fake(machines);
    Daemon::open(paths, assets, backend).await.unwrap()
}
