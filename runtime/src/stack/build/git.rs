//! Contexts in git repositories: `URL[#ref[:folder]]`. They are fetched on
//! the host, where the user's keys and credentials are, into the cache folder,
//! by commit.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use stack_api::event::ApiError;
use stack_git::{Parts, Repository};

/// How long git may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Follows the commit in the name of a folder: another one where what is in it
/// is not what it would be now. Without one, nobody but its owner may read it.
const AS_NOW: &str = ".2";

/// Fetches it into the cache, unless that commit is there; gives the
/// folder. Submodules are fetched, too; `.git` is left out unless it is kept.
///
/// # Errors
/// git fails, or there is no such folder.
pub(super) async fn fetch(
    repository: &Repository,
    cache: &Path,
    keeps_git: bool,
) -> Result<PathBuf, ApiError> {
    let fetched = fetch_into(repository, cache, keeps_git);
    let fetched = tokio::time::timeout(PATIENCE, fetched).await;
    let fetched = fetched.unwrap_or_else(|_| Err("git takes too long".to_owned()));
    fetched.map_err(|why| {
        let url = &repository.url;
        ApiError::new("no_context", format!("the context {url}: {why}"))
    })
}

async fn fetch_into(
    repository: &Repository,
    cache: &Path,
    keeps_git: bool,
) -> Result<PathBuf, String> {
    let Repository {
        reference, below, ..
    } = repository;
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let folder = Path::new(below.trim_start_matches('/'));
    if !folder.components().all(plain) {
        return Err(format!("`{below}` leads out of the repository"));
    }
    let commit = repository.commit().await?;
    let failed = |error: std::io::Error| error.to_string();
    let kept = if keeps_git { ".git" } else { "" };
    let whole = cache.join("git").join(format!("{commit}{AS_NOW}{kept}"));
    if !whole.exists() {
        std::fs::create_dir_all(cache.join("git")).map_err(failed)?;
        let new = tempfile::Builder::new()
            .prefix("new-")
            .tempdir_in(cache.join("git"));
        let new = new.map_err(failed)?;
        repository
            .check_out(&commit, new.path(), Parts::Submodules)
            .await?;
        if !keeps_git {
            std::fs::remove_dir_all(new.path().join(".git")).map_err(failed)?;
        }
        // Another build may have been faster.
        match std::fs::rename(new.path(), &whole) {
            Err(error) if !whole.exists() => return Err(failed(error)),
            _ => {}
        }
    }
    let found = whole.join(folder);
    let real = found
        .canonicalize()
        .map_err(|_| format!("there is no folder `{below}` in {reference}"))?;
    match real.starts_with(whole.canonicalize().map_err(failed)?) {
        true => Ok(found),
        false => Err(format!("`{below}` leads out of the repository")),
    }
}

/// The repository below the cache that a folder is in; `None` for others.
pub(super) fn repository_of(folder: &Path, cache: &Path) -> Option<PathBuf> {
    let commit = folder.strip_prefix(cache).ok()?.components().next()?;
    Some(cache.join(commit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_folder_of_a_commit_is_fetched_once() {
        let dir = tempfile::tempdir().unwrap();
        let (origin, cache) = (dir.path().join("o.git"), dir.path().join("cache"));
        std::fs::create_dir_all(origin.join("app")).unwrap();
        std::fs::write(origin.join("app/f"), "1").unwrap();
        for line in [
            "init --quiet --initial-branch=main",
            "add .",
            "commit --quiet -m x",
            "tag v1",
        ] {
            let who = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
            let mut git = std::process::Command::new("git");
            git.args(who).args(line.split(' ')).current_dir(&origin);
            assert!(git.status().unwrap().success(), "{line}");
        }
        let repository = |reference: &str, folder: &str| Repository {
            url: origin.display().to_string(),
            reference: reference.to_owned(),
            below: folder.to_owned(),
        };
        // As the daemon keeps its own files to itself.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let first = fetch(&repository("v1", "app"), &cache, false)
            .await
            .unwrap();
        assert_eq!(std::fs::read_to_string(first.join("f")).unwrap(), "1");
        for path in [first.as_path(), &first.join("f"), first.parent().unwrap()] {
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o055, if path.is_dir() { 0o055 } else { 0o044 });
        }
        assert_eq!(
            fetch(&repository("main", "/app"), &cache, false)
                .await
                .unwrap(),
            first
        );
        let tagged = fetch(&repository("tags/v1", "app"), &cache, false).await;
        assert_eq!(tagged.unwrap(), first);
        let kept = fetch(&repository("v1", ""), &cache, true).await.unwrap();
        assert!(kept.join(".git/HEAD").exists());
        let whole = repository_of(&first, &cache.join("git"));
        assert_eq!(whole.as_deref(), first.parent());
        assert_eq!(repository_of(dir.path(), &cache), None);
        assert!(!first.parent().unwrap().join(".git").exists());
        for (reference, folder) in [("v2", ""), ("v1", "none"), ("v1", "../x"), ("-x", "")] {
            let repository = repository(reference, folder);
            assert!(fetch(&repository, &cache, false).await.is_err());
        }
    }
}
