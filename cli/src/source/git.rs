//! Stack files in git repositories.

use std::path::{Path, PathBuf};

use stack_git::{Parts, Repository};
use stack_planner::FILE_NAMES;

use super::remote::{folder_name, inside, publish, stays_below, wait};
use crate::ui::untrusted;

/// The stack file, checked out into the cache by its commit.
pub(super) fn fetch(repository: &Repository, cache: &Path) -> Result<PathBuf, String> {
    let Repository {
        url,
        reference,
        below,
    } = repository;
    if !below.is_empty() && !stays_below(below) {
        return Err(format!("`{below}` leads out of the repository"));
    }
    let commit = wait(repository.commit()).map_err(|why| untrusted::plain(&why))?;
    let folder = cache.join(&commit).join(folder_name(url));
    if !folder.exists() {
        publish(&folder, |folder| {
            let done = wait(repository.check_out(&commit, folder, Parts::Own));
            done.map_err(|why| untrusted::plain(&why))
        })?;
    }
    let named = folder.join(below);
    let file = match named.is_dir() {
        false => named,
        true => {
            let candidates = FILE_NAMES.iter().map(|name| named.join(name));
            let found = candidates.into_iter().find(|path| path.is_file());
            found.ok_or_else(|| format!("there is no stack file in {reference}:{below}"))?
        }
    };
    if !file.exists() {
        return Err(format!("there is no `{below}` in {reference}"));
    }
    inside(&folder, &file)?;
    Ok(file)
}
