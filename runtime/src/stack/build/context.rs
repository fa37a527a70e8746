//! Brings a build context into the builder: only what differs from what is
//! there, and nothing that `.dockerignore` leaves out.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use stack_api::event::ApiError;
use stack_protocol::sync::{Item, Kind};
use stack_sync::{Filter, Patterns, Step, Tree};

use super::builder::{self, Lease, STORE};
use super::{git, shell, source};
use crate::daemon::Daemon;

/// What helps when a file cannot be read.
const LEAVE_OUT: &str = "leave it out with a line in .dockerignore";

/// A directory of the host to build from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Context {
    /// Absolute.
    pub path: PathBuf,
    /// Content of the file that says what is left out.
    pub ignore: Option<String>,
}

impl Context {
    /// The directory that a build names, with the ignore file of this
    /// Dockerfile or of the context.
    ///
    /// # Errors
    /// There is none, or the ignore file cannot be read.
    pub(super) fn open(
        path: &Path,
        dockerfile: Option<&Path>,
        cache: &Path,
    ) -> Result<Context, ApiError> {
        if !path.is_dir() {
            return Err(ApiError::new(
                "no_context",
                format!("there is no directory {} to build from", path.display()),
            )
            .help("`build.context` is relative to the stack file"));
        }
        let own = dockerfile.map(|file| {
            let mut name = file.as_os_str().to_owned();
            name.push(".dockerignore");
            PathBuf::from(name)
        });
        let general = path.join(".dockerignore");
        let inside = git::repository_of(path, cache);
        let mut ignore = None;
        for file in own.into_iter().chain([general]) {
            match source::read(&file, inside.as_deref()) {
                Ok(text) => {
                    // What is no text matches no name that could be brought in.
                    ignore = Some(String::from_utf8_lossy(&text).into_owned());
                    break;
                }
                Err(error) if is_missing(&error) => {}
                Err(error) => {
                    let what = format!("{} cannot be read: {error}", file.display());
                    return Err(ApiError::new("bad_ignore_file", what));
                }
            }
        }
        Ok(Context {
            path: path.to_owned(),
            ignore,
        })
    }

    /// Where it is in the builder.
    pub(super) fn target(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.path.as_os_str().as_encoded_bytes());
        hasher.update([0]);
        hasher.update(self.ignore.as_deref().unwrap_or_default());
        let digest = hasher.finalize();
        let name: String = digest[..12].iter().map(|b| format!("{b:02x}")).collect();
        format!("{STORE}/stack/contexts/{name}")
    }

    /// The file whose time says when it was last used.
    pub(super) fn mark(&self) -> String {
        self.target().replace("/contexts/", "/used/")
    }

    fn filter(&self) -> Result<Filter, ApiError> {
        let patterns = Patterns::new(self.ignore.as_deref().unwrap_or_default().lines());
        let patterns = patterns.map_err(|why| {
            ApiError::new(
                "bad_ignore_file",
                format!("the .dockerignore of {}: {why}", self.path.display()),
            )
        })?;
        Ok(Filter {
            ignore: vec![(self.path.clone(), patterns)],
            include: Patterns::default(),
        })
    }

    /// Everything in it that counts; the directory itself is the first.
    fn items(&self) -> Result<Vec<Item>, ApiError> {
        let mut tree = Tree::new(self.path.clone(), self.filter()?).exact();
        let found = tree.look(&self.path, true, &mut |_| {});
        if let Some(unreadable) = found.unreadable.first() {
            let path = unreadable.path.display();
            let why = &unreadable.error;
            let message = format!("the build context has {path}, which cannot be read: {why}");
            return Err(ApiError::new("unreadable", message).help(LEAVE_OUT));
        }
        let mut items: Vec<Item> = found
            .changes
            .into_iter()
            .filter_map(|change| {
                Some(Item {
                    path: change.path,
                    kind: change.now?,
                })
            })
            .collect();
        if items.first().is_none_or(|item| !item.path.is_empty()) {
            let kind = Kind::Directory { mode: 0o755 };
            let path = String::new();
            items.insert(0, Item { path, kind });
        }
        Ok(items)
    }

    /// Makes the builder's copy the same; gives the number of files that were
    /// sent.
    ///
    /// # Errors
    /// A file cannot be read, or the builder's disk is full.
    pub(super) async fn bring(&self, daemon: &Daemon, lease: &Lease) -> Result<u64, ApiError> {
        let _one = daemon.builder.bringing.lock().await;
        let context = self.clone();
        let items = tokio::task::spawn_blocking(move || context.items())
            .await
            .map_err(|error| ApiError::new("internal", error.to_string()))??;
        self.send(lease, items).await
    }

    async fn send(&self, lease: &Lease, items: Vec<Item>) -> Result<u64, ApiError> {
        let failed = |error: io::Error| {
            let what = format!(
                "{} did not get into the builder: {error}",
                self.path.display()
            );
            let inner = error.get_ref();
            let unreadable = inner.is_some_and(|error| error.is::<stack_sync::Unreadable>());
            match unreadable {
                true => ApiError::new("unreadable", what).help(LEAVE_OUT),
                false => builder::or_full(ApiError::new("context", what), ""),
            }
        };
        let target = self.target();
        let mut session = shell::sync(lease).await?;
        let there = session.list(&target).await.map_err(failed)?;
        let mut steps = {
            let wanted: BTreeSet<&str> = items
                .iter()
                .flat_map(|item| with_parents(&item.path))
                .collect();
            // A directory that goes takes what is in it along.
            let gone = there.into_iter().filter(|path| {
                let above = path.rsplit_once('/').map_or("", |(above, _)| above);
                !wanted.contains(path.as_str()) && wanted.contains(above)
            });
            gone.map(|path| Step {
                path,
                now: None,
                expected: None,
            })
            .collect::<Vec<_>>()
        };
        let missing = session.missing(&self.path, &target, items).await;
        steps.extend(missing.map_err(failed)?.into_iter().map(|item| Step {
            path: item.path,
            now: Some(item.kind),
            expected: None,
        }));
        if steps.is_empty() {
            return Ok(0);
        }
        let outcome = session.apply(&self.path, &target, &mut steps).await;
        let (outcome, left_out) = outcome.map_err(failed)?;
        match outcome.failures.iter().chain(&left_out).next() {
            None => Ok(outcome.written),
            Some((path, why)) => Err(failed(io::Error::other(format!("{path}: {why}")))),
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::NotFound || kind == io::ErrorKind::NotADirectory
}

/// A path and all directories that lead to it, the context included.
fn with_parents(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.chain([0, path.len()]).map(|end| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_no_item() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let ignore = b"# caf\xe9\ndocs\n!docs/README.md\n*.log\n";
        std::fs::write(dir.path().join(".dockerignore"), ignore).unwrap();
        write("docs/README.md", "");
        write("docs/other.md", "");
        write("app.log", "");
        write("src/app", "");
        let cache = Path::new("/nowhere");
        let context = Context::open(dir.path(), None, cache).unwrap();
        let paths: Vec<String> = context
            .items()
            .unwrap()
            .into_iter()
            .map(|i| i.path)
            .collect();
        assert_eq!(
            paths,
            ["", ".dockerignore", "docs/README.md", "src", "src/app"]
        );

        // The Dockerfile's own comes first, and is another copy.
        write("Dev.dockerignore", "");
        let own = Context::open(dir.path(), Some(&dir.path().join("Dev")), cache).unwrap();
        assert_eq!(own.items().unwrap().len(), 9);
        assert_ne!(own.target(), context.target());
        assert!(Context::open(&dir.path().join("nowhere"), None, cache).is_err());
    }

    #[test]
    fn directories_of_wanted_files_stay() {
        let all: Vec<&str> = with_parents("a/b/c").collect();
        assert_eq!(all, ["a", "a/b", "", "a/b/c"]);
    }
}
