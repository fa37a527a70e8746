//! Deletes what no image needs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::layer::disk_size;
use crate::lock::exclusive;
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
    let Some(_alone) = exclusive(root).map_err(failed())? else {
        return Ok(Freed {
            postponed: true,
            ..Freed::default()
        });
    };
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

/// Deletes these files unless a record names them or somebody adds files.
pub(crate) fn drop_replaced(root: &Path, files: &BTreeSet<LayerFile>) -> Result<(), Error> {
    let failed = || Error::store("deleting merged layers");
    let Some(_alone) = exclusive(root).map_err(failed())? else {
        return Ok(());
    };
    let used = used(root)?;
    for path in files
        .iter()
        .map(|file| file.path(root))
        .filter(|path| !used.contains(path))
    {
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed()(error)),
        }
    }
    Ok(())
}

fn used(root: &Path) -> Result<BTreeSet<PathBuf>, Error> {
    let records = Record::all(root)?;
    Ok(records
        .iter()
        .flat_map(|record| &record.files)
        .map(|file| file.path(root))
        .collect())
}

fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|meta| meta.modified());
    let age = modified
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age > KEEP_PARTIAL)
}
