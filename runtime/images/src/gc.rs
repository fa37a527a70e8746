//! Deletes what no image needs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::layer::disk_size;
use crate::lock::{Exclusive, exclusive};
use crate::record::{LayerFile, Record};

/// How long the beginning of a blob is kept for a pull to go on with.
const KEEP_PARTIAL: Duration = Duration::from_secs(24 * 60 * 60);

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Files.
    pub files: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// An image is being pulled or imported: nothing was deleted.
    pub postponed: bool,
}

/// Deletes layers that neither a record nor `keep` names, and what dead
/// processes left behind.
pub(crate) fn collect(root: &Path, keep: &BTreeSet<PathBuf>) -> Result<Freed, Error> {
    let failed = || Error::store("deleting unused layers");
    // Nobody adds files while this is held, so whatever is temporary belongs
    // to nobody.
    match exclusive(root).map_err(failed())? {
        Some(alone) => collect_alone(&alone, root, keep),
        None => Ok(Freed {
            postponed: true,
            ..Freed::default()
        }),
    }
}

/// As [`collect`], for one who has the right to delete.
pub(crate) fn collect_alone(
    _alone: &Exclusive,
    root: &Path,
    keep: &BTreeSet<PathBuf>,
) -> Result<Freed, Error> {
    let failed = || Error::store("deleting unused layers");
    let used = used(root)?;
    let mut freed = Freed::default();
    let mut sweep = |dir: &str, unused: &dyn Fn(&Path) -> bool| -> io::Result<()> {
        for entry in fs::read_dir(root.join(dir))? {
            let path = entry?.path();
            if unused(&path) {
                let bytes = disk_size(&path)?;
                fs::remove_file(&path)?;
                freed.files += 1;
                freed.bytes += bytes;
            }
        }
        Ok(())
    };
    let unnamed = |path: &Path| !used.contains(path) && !keep.contains(path);
    sweep("layers", &unnamed).map_err(failed())?;
    sweep("chains", &unnamed).map_err(failed())?;
    sweep("tmp", &|_| true).map_err(failed())?;
    sweep("partial", &is_old).map_err(failed())?;
    clear(&root.join("locks")).map_err(failed())?;
    Ok(freed)
}

/// What would be deleted without the images of these references.
pub(crate) fn would_free(
    root: &Path,
    without: &BTreeSet<String>,
    keep: &BTreeSet<PathBuf>,
) -> Result<Freed, Error> {
    let failed = || Error::store("looking for unused layers");
    let mut records = Record::all(root)?;
    records.retain(|record| !without.contains(&record.reference));
    let used: BTreeSet<PathBuf> = records.iter().flat_map(|r| r.needs(root)).collect();
    let mut freed = Freed::default();
    for dir in ["layers", "chains", "partial"] {
        for entry in fs::read_dir(root.join(dir)).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            let unused = match dir {
                "partial" => is_old(&path),
                _ => !used.contains(&path) && !keep.contains(&path),
            };
            if unused {
                freed.files += 1;
                freed.bytes += disk_size(&path).unwrap_or(0);
            }
        }
    }
    Ok(freed)
}

/// Bytes on disk of all files.
pub(crate) fn total(root: &Path) -> Result<u64, Error> {
    let failed = || Error::store("measuring it");
    let mut total = 0;
    for dir in ["layers", "chains", "partial", "tmp", "images"] {
        for entry in fs::read_dir(root.join(dir)).map_err(failed())? {
            // What is gone meanwhile takes nothing.
            total += disk_size(&entry.map_err(failed())?.path()).unwrap_or(0);
        }
    }
    Ok(total)
}

/// Deletes what dead processes left, unless somebody is at work.
pub(crate) fn sweep_temporary(root: &Path) -> io::Result<()> {
    let Some(_alone) = exclusive(root)? else {
        return Ok(());
    };
    clear(&root.join("tmp"))
}

fn clear(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// Deletes these files but those that a record or `keep` names; `false` when
/// somebody adds files, or `keep` does not know: then all stay.
pub(crate) fn drop_replaced(
    root: &Path,
    files: &BTreeSet<LayerFile>,
    keep: impl FnOnce() -> Option<BTreeSet<PathBuf>>,
) -> Result<bool, Error> {
    let failed = || Error::store("deleting merged layers");
    let Some(_alone) = exclusive(root).map_err(failed())? else {
        return Ok(false);
    };
    let Some(keep) = keep() else {
        return Ok(false);
    };
    let mut used = used(root)?;
    used.extend(keep);
    let all = files.iter().flat_map(|file| {
        let recipe = match file {
            LayerFile::Layer(layer) => Some(LayerFile::recipe(root, layer)),
            LayerFile::Chain(_) | LayerFile::Directories(_) => None,
        };
        [Some(file.path(root)), recipe].into_iter().flatten()
    });
    for path in all.filter(|path| !used.contains(path)) {
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed()(error)),
        }
    }
    Ok(true)
}

fn used(root: &Path) -> Result<BTreeSet<PathBuf>, Error> {
    let records = Record::all(root)?;
    Ok(records
        .iter()
        .flat_map(|record| record.needs(root))
        .collect())
}

fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|meta| meta.modified());
    let age = modified
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age > KEEP_PARTIAL)
}
