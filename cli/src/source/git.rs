//! Stack files in git repositories, by the `git` command: it has the user's
//! credentials, keys and proxies.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use stack_planner::FILE_NAMES;
use tokio::process::Command;

use super::remote::{folder_name, inside, publish, stays_below, wait};
use crate::ui::untrusted;

/// A file or folder of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    url: String,
    /// Branch, tag or commit.
    reference: String,
    /// Folder or file.
    below: String,
}

impl Repository {
    /// Reads `URL[#ref[:folder]]`; `None` when this is no repository's name.
    pub(super) fn parse(name: &str) -> Option<Repository> {
        let (address, fragment) = name.split_once('#').unwrap_or((name, ""));
        let url = if let Some((scheme, rest)) = address.split_once("://") {
            let path = rest.split_once('/')?.1;
            let fits = match scheme {
                "http" | "https" => path.ends_with(".git"),
                "ssh" | "git" => !path.is_empty(),
                _ => false,
            };
            fits.then(|| address.to_owned())?
        } else if let Some(path) = address.strip_prefix("github.com/") {
            format!("https://github.com/{path}")
        } else {
            let (user, rest) = address.split_once('@')?;
            let (host, path) = rest.split_once(':')?;
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let named = |text: &str| {
                text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(word)
            };
            (named(user) && named(host) && !path.is_empty()).then(|| address.to_owned())?
        };
        let (reference, below) = fragment.split_once(':').unwrap_or((fragment, ""));
        Some(Repository {
            url,
            reference: match reference {
                "" => "HEAD".to_owned(),
                reference => reference.to_owned(),
            },
            below: below.to_owned(),
        })
    }
}

/// The stack file, checked out into the cache by its commit.
pub(super) fn fetch(repository: &Repository, cache: &Path) -> Result<PathBuf, String> {
    let Repository {
        url,
        reference,
        below,
    } = repository;
    if reference.starts_with('-') || reference.contains(['^', '*', '?', '[']) {
        return Err(format!("`{reference}` is not a branch, a tag or a commit"));
    }
    if !below.is_empty() && !stays_below(below) {
        return Err(format!("`{below}` leads out of the repository"));
    }
    let commit = match is_commit(reference) {
        true => reference.clone(),
        false => wait(look_up(url, reference))?,
    };
    let folder = cache.join(&commit).join(folder_name(url));
    if !folder.exists() {
        publish(&folder, |folder| wait(check_out(url, &commit, folder)))?;
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

/// A whole object name: SHA-1, or SHA-256.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The commit that a branch or tag is at.
async fn look_up(url: &str, reference: &str) -> Result<String, String> {
    let peeled = format!("{reference}^{{}}");
    let list = git(&["ls-remote", "--", url, reference, &peeled], None).await?;
    let lines: Vec<(&str, &str)> = list.lines().filter_map(|l| l.split_once('\t')).collect();
    // As `git rev-parse` would: a tag before a branch of the same name, and
    // the commit that it marks.
    let order = [
        format!("refs/tags/{peeled}"),
        format!("refs/tags/{reference}"),
        format!("refs/heads/{reference}"),
        format!("{reference}^{{}}"),
        reference.to_owned(),
    ];
    let named = |wanted: &String| lines.iter().find(|(_, name)| name == wanted);
    let found = order.iter().find_map(named).map(|(commit, _)| *commit);
    match found.filter(|commit| is_commit(commit)) {
        Some(commit) => Ok(commit.to_owned()),
        None => Err(format!("the repository has no branch or tag `{reference}`")),
    }
}

async fn check_out(url: &str, commit: &str, folder: &Path) -> Result<(), String> {
    let at = Some(folder);
    git(&["init", "--quiet", "--template=", "."], at).await?;
    git(
        &[
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--",
            url,
            commit,
        ],
        at,
    )
    .await?;
    git(&["checkout", "--quiet", "--detach", commit, "--"], at).await?;
    Ok(())
}

/// Runs git; gives what it printed.
async fn git(args: &[&str], folder: Option<&Path>) -> Result<String, String> {
    let mut command = Command::new("git");
    command
        // No hooks, and no way to run commands that a URL names.
        .args([
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "protocol.ext.allow=never",
        ])
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_HTTP_LOW_SPEED_LIMIT", "1000")
        .env("GIT_HTTP_LOW_SPEED_TIME", "30")
        // A stack in a repository must not be taken for that one.
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
    let mut lines = said.lines().map(str::trim);
    let telling = lines
        .clone()
        .find(|line| line.starts_with("fatal:") || line.starts_with("error:"))
        .or_else(|| lines.rfind(|line| !line.is_empty()));
    let words: String = telling.unwrap_or("it failed").chars().take(300).collect();
    Err(format!("git: {}", untrusted::plain(&words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories() {
        let parts = |name: &str| {
            let found = Repository::parse(name)?;
            Some([found.url, found.reference, found.below])
        };
        let is = |url: &str, reference: &str, below: &str| {
            Some([url, reference, below].map(str::to_owned))
        };
        let url = "https://example.org/a/b.git";
        assert_eq!(parts(url), is(url, "HEAD", ""));
        assert_eq!(parts(&format!("{url}#v1:sub/x")), is(url, "v1", "sub/x"));
        assert_eq!(parts(&format!("{url}#:sub")), is(url, "HEAD", "sub"));
        let scp = "git@example.org:a/b.git";
        assert_eq!(parts(&format!("{scp}#main")), is(scp, "main", ""));
        assert_eq!(parts("git://[::1]:9/a"), is("git://[::1]:9/a", "HEAD", ""));
        assert_eq!(
            parts("github.com/a/b"),
            is("https://github.com/a/b", "HEAD", "")
        );
        for local in [
            "compose.yaml",
            "./github.com/a",
            "https://example.org/a.yaml",
            "file:///x.git",
            "ext::sh -c x.git",
            "-x@y:z",
            "/home/u@h:x/compose.yaml",
            "x@-oProxyCommand=x:y",
        ] {
            assert_eq!(parts(local), None, "{local}");
        }
    }
}
