//! Contexts in git repositories: `URL[#ref[:folder]]`. They are fetched on
//! the host, where the user's keys and credentials are, into the cache folder,
//! by commit.

use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use stack_api::event::ApiError;
use tokio::process::Command;

/// How long git may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A folder of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository<'a> {
    url: String,
    /// Branch, tag or commit.
    reference: &'a str,
    folder: &'a str,
}

impl<'a> Repository<'a> {
    /// `None` when this is no repository's name.
    pub(super) fn parse(name: &'a str) -> Option<Repository<'a>> {
        let (address, fragment) = name.split_once('#').unwrap_or((name, ""));
        let url = match address.split_once("://") {
            Some(("http" | "https", rest)) => rest.ends_with(".git").then_some(address)?.to_owned(),
            Some(("ssh" | "git", _)) => address.to_owned(),
            Some(_) => return None,
            None if address.starts_with("github.com/") => format!("https://{address}"),
            None => {
                let (user, rest) = address.split_once('@')?;
                let (host, path) = rest.split_once(':')?;
                let word = |text: &str| {
                    let inside = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                    text.starts_with(|c: char| c.is_ascii_alphanumeric())
                        && text.chars().all(inside)
                };
                (word(user) && word(host) && !path.is_empty())
                    .then_some(address)?
                    .to_owned()
            }
        };
        let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        Some(Repository {
            url,
            reference: match reference {
                "" => "HEAD",
                reference => reference,
            },
            folder,
        })
    }

    /// Fetches it into the cache, unless that commit is there; gives the
    /// folder. Submodules are fetched, too; `.git` is left out.
    ///
    /// # Errors
    /// git fails, or there is no such folder.
    pub(super) async fn fetch(&self, cache: &Path) -> Result<PathBuf, ApiError> {
        let fetched = tokio::time::timeout(PATIENCE, self.fetch_into(cache)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("git takes too long".to_owned()));
        fetched
            .map_err(|why| ApiError::new("no_context", format!("the context {}: {why}", self.url)))
    }

    async fn fetch_into(&self, cache: &Path) -> Result<PathBuf, String> {
        let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        let folder = Path::new(self.folder.trim_start_matches('/'));
        if self.reference.starts_with('-') || !folder.components().all(plain) {
            return Err("that is no branch, tag or commit and folder in it".to_owned());
        }
        let commit = match is_commit(self.reference) {
            true => self.reference.to_owned(),
            false => self.look_up().await?,
        };
        let failed = |error: std::io::Error| error.to_string();
        let whole = cache.join("git").join(&commit);
        if !whole.exists() {
            std::fs::create_dir_all(cache.join("git")).map_err(failed)?;
            let new = tempfile::Builder::new()
                .prefix("new-")
                .tempdir_in(cache.join("git"));
            let new = new.map_err(failed)?;
            self.check_out(&commit, new.path()).await?;
            std::fs::remove_dir_all(new.path().join(".git")).map_err(failed)?;
            // Another build may have been faster.
            match std::fs::rename(new.path(), &whole) {
                Err(error) if !whole.exists() => return Err(failed(error)),
                _ => {}
            }
        }
        let found = whole.join(folder);
        let real = found
            .canonicalize()
            .map_err(|_| format!("there is no folder `{}` in {}", self.folder, self.reference))?;
        match real.starts_with(whole.canonicalize().map_err(failed)?) {
            true => Ok(found),
            false => Err(format!("`{}` leads out of the repository", self.folder)),
        }
    }

    async fn look_up(&self) -> Result<String, String> {
        let peeled = format!("{}^{{}}", self.reference);
        let list = git(
            &["ls-remote", "--", &self.url, self.reference, &peeled],
            None,
        )
        .await?;
        let lines: Vec<(&str, &str)> = list.lines().filter_map(|l| l.split_once('\t')).collect();
        // A tag before a branch of the same name, and the commit it marks.
        let order = [
            format!("refs/tags/{peeled}"),
            format!("refs/tags/{}", self.reference),
            format!("refs/heads/{}", self.reference),
            self.reference.to_owned(),
        ];
        let named = |wanted: &String| lines.iter().find(|(_, name)| name == wanted);
        let found = order.iter().find_map(named).map(|(commit, _)| *commit);
        found
            .filter(|commit| is_commit(commit))
            .map(str::to_owned)
            .ok_or_else(|| format!("there is no branch or tag `{}`", self.reference))
    }

    async fn check_out(&self, commit: &str, folder: &Path) -> Result<(), String> {
        let at = Some(folder);
        git(&["init", "--quiet", "--template=", "."], at).await?;
        let fetch = [
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--",
            &self.url,
            commit,
        ];
        git(&fetch, at).await?;
        git(&["checkout", "--quiet", "--detach", commit, "--"], at).await?;
        if folder.join(".gitmodules").exists() {
            // Addresses of submodules may be relative to this one.
            git(&["config", "remote.origin.url", &self.url], at).await?;
            let update = [
                "submodule",
                "--quiet",
                "update",
                "--init",
                "--recursive",
                "--depth=1",
            ];
            git(&update, at).await?;
        }
        Ok(())
    }
}

/// The repository below the cache that a folder is in; `None` for others.
pub(super) fn repository_of(folder: &Path, cache: &Path) -> Option<PathBuf> {
    let commit = folder.strip_prefix(cache).ok()?.components().next()?;
    Some(cache.join(commit))
}

/// A whole object name: SHA-1, or SHA-256.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

async fn git(args: &[&str], folder: Option<&Path>) -> Result<String, String> {
    let mut command = Command::new("git");
    command
        // No hooks, and no way to run commands that a URL names.
        .args(["-c", "core.hooksPath=/dev/null"])
        .args(["-c", "protocol.ext.allow=never"])
        // No repository names one of this machine as its submodule.
        .args(["-c", "protocol.file.allow=user"])
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let output = command.output().await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "it needs git, which is not in PATH".to_owned(),
        _ => format!("git: {error}"),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let fatal = said
        .lines()
        .find(|line| line.starts_with("fatal:") || line.starts_with("error:"));
    let words = fatal.or_else(|| said.lines().last()).unwrap_or("it failed");
    Err(format!(
        "git: {}",
        words.chars().take(300).collect::<String>()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_directories_and_archives() {
        let parts = |name| Repository::parse(name).map(|r| (r.url, r.reference, r.folder));
        let url = "https://example.org/a.git";
        assert_eq!(parts(url), Some((url.to_owned(), "HEAD", "")));
        let named = "git@example.org:a/b.git#v1:docker/x";
        let scp = "git@example.org:a/b.git".to_owned();
        assert_eq!(parts(named), Some((scp, "v1", "docker/x")));
        let short = Some(("https://github.com/a/b".to_owned(), "HEAD", "x"));
        assert_eq!(parts("github.com/a/b#:x"), short);
        for other in [
            "/src",
            "https://example.org/a.tar.gz",
            "service:a",
            "x@-oProxy=x:y",
            "ext::sh",
        ] {
            assert_eq!(parts(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_folder_of_a_commit_is_fetched_once() {
        let dir = tempfile::tempdir().unwrap();
        let (origin, cache) = (dir.path().join("o.git"), dir.path().join("cache"));
        std::fs::create_dir_all(origin.join("app")).unwrap();
        std::fs::write(origin.join("app/f"), "1").unwrap();
        let at = Some(origin.as_path());
        for line in [
            "init --quiet --initial-branch=main",
            "add .",
            "commit --quiet -m x",
            "tag v1",
        ] {
            let who = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
            let args: Vec<&str> = who.into_iter().chain(line.split(' ')).collect();
            git(&args, at).await.unwrap();
        }
        let repository = |reference, folder| Repository {
            url: origin.display().to_string(),
            reference,
            folder,
        };
        let first = repository("v1", "app").fetch(&cache).await.unwrap();
        assert_eq!(std::fs::read_to_string(first.join("f")).unwrap(), "1");
        assert_eq!(
            repository("main", "/app").fetch(&cache).await.unwrap(),
            first
        );
        let whole = repository_of(&first, &cache.join("git"));
        assert_eq!(whole.as_deref(), first.parent());
        assert_eq!(repository_of(dir.path(), &cache), None);
        assert!(!first.parent().unwrap().join(".git").exists());
        for (reference, folder) in [("v2", ""), ("v1", "none"), ("v1", "../x"), ("-x", "")] {
            assert!(repository(reference, folder).fetch(&cache).await.is_err());
        }
    }
}
