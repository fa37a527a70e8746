//! Stack files that are not on this machine: in a git repository or in a
//! registry. They are fetched into the cache folder, by commit or digest, and
//! read from there like any other file.
//!
//! | name | what it is |
//! |---|---|
//! | `https://host/repo.git[#ref[:folder]]`, `ssh://…`, `git://…`, `git@host:repo`, `github.com/owner/repo` | git |
//! | `oci://registry/name[:tag][@digest]` | an artifact, as `docker compose publish` makes it |

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use stack_git::Repository;
use stack_planner::SourceError;

use super::{git, oci};

/// How long fetching one thing may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What may be fetched, and where to.
#[derive(Debug, Clone)]
pub(crate) struct Remotes {
    /// `COMPOSE_EXPERIMENTAL_GIT_REMOTE`.
    pub(crate) git: bool,
    /// `COMPOSE_EXPERIMENTAL_OCI_REMOTE`.
    pub(crate) oci: bool,
    /// The cache folder; `None` when there is no home.
    pub(crate) cache: Option<PathBuf>,
}

/// Does the name say that the file is elsewhere?
pub(crate) fn is_remote(name: &str) -> bool {
    name.contains("://") || Repository::parse(name).is_some()
}

/// The cache folder: `$STACK_HOME/cache/remote`, else
/// `$XDG_CACHE_HOME/stack/remote`, else `~/.cache/stack/remote`.
pub(crate) fn cache() -> Option<PathBuf> {
    let set = |name| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let folder = set("STACK_HOME")
        .map(|home| home.join("cache"))
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("stack")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/stack")))?;
    Some(folder.join("remote"))
}

impl Remotes {
    /// Fetches what the name says; `None` when it names a local file.
    pub(super) fn fetch(&self, name: &str) -> Option<Result<PathBuf, SourceError>> {
        let result = if let Some(reference) = name.strip_prefix("oci://") {
            self.prepare(self.oci, "COMPOSE_EXPERIMENTAL_OCI_REMOTE", "oci")
                .and_then(|cache| oci::fetch(reference, &cache))
        } else if let Some(repository) = Repository::parse(name) {
            self.prepare(self.git, "COMPOSE_EXPERIMENTAL_GIT_REMOTE", "git")
                .and_then(|cache| git::fetch(&repository, &cache))
        } else if name.contains("://") {
            Err("a git repository (https://….git, ssh:// or git://) or oci:// is expected".into())
        } else {
            return None;
        };
        Some(result.map_err(SourceError::Other))
    }

    /// The folder for one kind, made and private.
    fn prepare(&self, allowed: bool, variable: &str, kind: &str) -> Result<PathBuf, String> {
        if !allowed {
            return Err(format!("{variable} forbids it"));
        }
        let cache = self
            .cache
            .as_ref()
            .ok_or("neither HOME nor STACK_HOME is set")?;
        let folder = cache.join(kind);
        private(&folder)?;
        Ok(folder)
    }
}

/// What the folder is called that something is fetched into: like the
/// repository, for it becomes the name of a project that has none.
pub(super) fn folder_name(address: &str) -> String {
    let last = address.trim_end_matches('/').rsplit('/').next();
    // Without tag and digest; `git@host:repo` has no slash.
    let last = last.unwrap_or_default().split("@sha256:").next();
    let last = last.unwrap_or_default();
    let last = match last.contains('@') {
        true => last.rsplit(':').next(),
        false => last.split(':').next(),
    };
    let last = last.unwrap_or_default();
    let word = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = last.trim_end_matches(".git").chars().filter(word).collect();
    match name.is_empty() {
        true => "stack".to_owned(),
        false => name,
    }
}

/// Makes a folder that is nobody else's.
pub(super) fn private(folder: &Path) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    let made = builder
        .recursive(true)
        .mode(Mode::RWXU.bits())
        .create(folder);
    made.map_err(|error| format!("{}: {error}", folder.display()))
}

/// Fills a folder of the cache, whole or not at all. Of several processes that
/// do the same, one wins.
pub(super) fn publish(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), String> {
    let unfinished = folder.with_extension(format!("{}.tmp", std::process::id()));
    // What a process of the same number has left behind.
    drop(std::fs::remove_dir_all(&unfinished));
    private(&unfinished)?;
    let filled = fill(&unfinished).and_then(|()| match std::fs::rename(&unfinished, folder) {
        Err(error) if !folder.exists() => Err(format!("{}: {error}", folder.display())),
        _ => Ok(()),
    });
    drop(std::fs::remove_dir_all(&unfinished));
    filled
}

/// Waits for something that is not ready at once, from code that cannot: on a
/// thread of its own, for this one may drive a runtime already.
pub(super) fn wait<T: Send>(
    work: impl Future<Output = Result<T, String>> + Send,
) -> Result<T, String> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async {
            match tokio::time::timeout(PATIENCE, work).await {
                Ok(result) => result,
                Err(_) => Err(format!("it took longer than {} s", PATIENCE.as_secs())),
            }
        })
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|_| Err("fetching it failed in an unexpected way".to_owned()))
}

/// A file inside a folder, through no link that leads out of it.
///
/// # Errors
/// It is not there, or elsewhere.
pub(super) fn inside(folder: &Path, file: &Path) -> Result<(), String> {
    let real = |path: &Path| path.canonicalize().map_err(|error| error.to_string());
    match real(file)?.starts_with(real(folder)?) {
        true => Ok(()),
        false => Err("it is a link that leads out of what was fetched".to_owned()),
    }
}

/// The parts of a relative path, if it stays below where it starts.
pub(super) fn stays_below(path: &str) -> bool {
    use std::path::Component;
    let fits = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    !path.is_empty() && Path::new(path).components().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_called_like_their_repositories() {
        for (address, name) in [
            ("https://example.org/a/shop.git", "shop"),
            ("git://127.0.0.1:9/shop/", "shop"),
            ("git@example.org:shop.git", "shop"),
            ("git@example.org:a/shop.git", "shop"),
            ("127.0.0.1:5000/a/shop:1.2", "shop"),
            ("127.0.0.1:5000/a/shop@sha256:00", "shop"),
            ("https://example.org/..", "stack"),
        ] {
            assert_eq!(folder_name(address), name, "{address}");
        }
    }

    #[test]
    fn a_folder_is_filled_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x");
        let fill = |text: &'static str| {
            move |folder: &Path| std::fs::write(folder.join("f"), text).map_err(|e| e.to_string())
        };
        let failed = publish(&folder, |folder| {
            fill("half")(folder)?;
            Err("no".to_owned())
        });
        assert_eq!(failed, Err("no".to_owned()));
        assert!(!folder.exists());
        publish(&folder, fill("one")).unwrap();
        publish(&folder, fill("two")).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("f")).unwrap(), "one");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
