//! What a kill has left, found when the daemon starts: files of containers
//! that are forgotten, and files that were half-made.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::daemon::Daemon;

/// Deletes it. Nothing is served yet, so nobody makes anything.
pub fn sweep(daemon: &Daemon) {
    let paths = &daemon.paths;
    each(&paths.cache, |name| name.starts_with("build-"));
    each(&paths.cache.join("git"), |name| name.starts_with("new-"));
    if !daemon.knows_all() {
        tracing::warn!("nothing is swept: some containers or volumes are not known");
        return;
    }
    let ids: BTreeSet<String> = daemon
        .handles(None)
        .iter()
        .map(|handle| handle.id.clone())
        .collect();
    each(&paths.disks(), |name| {
        let id = name.strip_suffix(".ext4");
        id.is_some_and(|id| is_id(id) && !ids.contains(id)) || is_partial(name)
    });
    let Ok(volumes) = daemon.volumes() else {
        return;
    };
    let volumes: BTreeSet<String> = volumes.into_iter().map(|volume| volume.name).collect();
    each(&paths.volumes(), |name| {
        // One without a name, made and not noted. What somebody has named may have dots.
        let (stem, _) = name.rsplit_once('.').unwrap_or((name, ""));
        is_partial(name) || is_id(stem) && !volumes.contains(stem)
    });
    each(&paths.logs(), |name| {
        let id = name.split('.').next().unwrap_or_default();
        is_id(id) && !ids.contains(id)
    });
    match daemon.images.gc_keeping(&super::images::disks(daemon)) {
        Ok(freed) if freed.files > 0 => {
            tracing::info!(freed.files, freed.bytes, "unused layers deleted");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "unused layers stay"),
    }
}

/// Deletes what `goes` says of its name.
fn each(dir: &Path, goes: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !goes(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        tracing::info!(path = %path.display(), "left behind: deleted");
        if let Err(error) = crate::volume::tree::delete(&path) {
            tracing::warn!(%error, path = %path.display(), "it stays");
        }
    }
}

/// 64 hexadecimal digits.
fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_partial(name: &str) -> bool {
    name.ends_with(".partial")
}
