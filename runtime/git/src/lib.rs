//! Stack files and build contexts in git repositories, fetched by the `git`
//! command: it has the user's credentials, keys and proxies. What is fetched is
//! somebody else's: no hook of it runs, and no URL of it names a command.

mod command;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use command::git;

/// A file or folder of a repository: `URL[#ref[:below]]`, or
/// `URL[?branch=…|tag=…|ref=…&subdir=…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// As `git` takes it.
    pub url: String,
    /// Branch, tag or commit.
    pub reference: String,
    /// Folder or file; empty: all of it.
    pub below: String,
}

/// What is checked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// The repository's own files.
    Own,
    /// Those of its submodules, too.
    Submodules,
}

impl Repository {
    /// `None` when this is no repository's name.
    pub fn parse(name: &str) -> Option<Repository> {
        let (address, fragment) = name.split_once('#').unwrap_or((name, ""));
        let (address, query) = match address.split_once('?') {
            Some((address, query)) if address.contains("://") => (address, query),
            _ => (address, ""),
        };
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
        let (mut reference, mut below) = (reference.to_owned(), below.to_owned());
        for (key, value) in query.split('&').filter_map(|part| part.split_once('=')) {
            match key {
                "ref" => reference = value.to_owned(),
                "branch" => reference = format!("heads/{value}"),
                "tag" => reference = format!("tags/{value}"),
                "subdir" => below = value.to_owned(),
                // Nobody knows what is asked for.
                _ => return None,
            }
        }
        if reference.is_empty() {
            reference = "HEAD".to_owned();
        }
        Some(Repository {
            url,
            reference,
            below,
        })
    }

    /// The commit that the branch or tag is at now.
    ///
    /// # Errors
    /// There is none, or git fails: one sentence.
    pub async fn commit(&self) -> Result<String, String> {
        let reference = &self.reference;
        if is_commit(reference) {
            return Ok(reference.clone());
        }
        if reference.starts_with('-') || reference.contains(['^', '*', '?', '[']) {
            return Err(format!("`{reference}` is not a branch, a tag or a commit"));
        }
        let peeled = format!("{reference}^{{}}");
        let list = git(&["ls-remote", "--", &self.url, reference, &peeled], None).await?;
        let lines: Vec<(&str, &str)> = list.lines().filter_map(|l| l.split_once('\t')).collect();
        // As `git rev-parse` would: a tag before a branch of the same name, and
        // the commit that it marks.
        let order = [
            format!("refs/tags/{peeled}"),
            format!("refs/tags/{reference}"),
            format!("refs/heads/{reference}"),
            // `pull/42/head`, `tags/v1`
            format!("refs/{peeled}"),
            format!("refs/{reference}"),
            peeled,
            reference.clone(),
        ];
        let named = |wanted: &String| lines.iter().find(|(_, name)| name == wanted);
        let found = order.iter().find_map(named).map(|(commit, _)| *commit);
        found
            .filter(|commit| is_commit(commit))
            .map(str::to_owned)
            .ok_or_else(|| {
                let hexadecimal = |c: char| c.is_ascii_hexdigit();
                let hint = match reference.len() >= 7 && reference.chars().all(hexadecimal) {
                    true => "; a commit needs all of its digits",
                    false => "",
                };
                format!("the repository has no branch or tag `{reference}`{hint}")
            })
    }

    /// Checks a commit out into an empty folder. All may read what is in it
    /// afterwards, as in any working tree; a folder above it keeps them away.
    ///
    /// # Errors
    /// git fails: one sentence.
    pub async fn check_out(&self, commit: &str, folder: &Path, parts: Parts) -> Result<(), String> {
        let at = Some(folder);
        let url = self.url.as_str();
        git(&["init", "--quiet", "--template=", "."], at).await?;
        let fetch = ["fetch", "--quiet", "--depth=1", "--no-tags", "--", url];
        git(&[&fetch[..], &[commit]].concat(), at).await?;
        git(&["checkout", "--quiet", "--detach", commit, "--"], at).await?;
        if parts == Parts::Submodules && folder.join(".gitmodules").exists() {
            // Addresses of submodules may be relative to this one.
            git(&["config", "remote.origin.url", url], at).await?;
            let update = "submodule --quiet update --init --recursive --depth=1";
            git(&update.split(' ').collect::<Vec<_>>(), at).await?;
        }
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder, mode).map_err(|error| error.to_string())
    }
}

/// A whole object name: SHA-1, or SHA-256.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
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
        let query = |query: &str| parts(&format!("{url}?{query}"));
        assert_eq!(query("branch=x&subdir=y"), is(url, "heads/x", "y"));
        assert_eq!(query("tag=v1"), is(url, "tags/v1", ""));
        assert_eq!(query("other=1"), None);
        let scp = "git@example.org:a/b.git";
        assert_eq!(parts(&format!("{scp}#main")), is(scp, "main", ""));
        assert_eq!(parts("git://[::1]:9/a"), is("git://[::1]:9/a", "HEAD", ""));
        assert_eq!(
            parts("github.com/a/b"),
            is("https://github.com/a/b", "HEAD", "")
        );
        for local in [
            "compose.yaml",
            "/src",
            "service:a",
            "./github.com/a",
            "https://example.org/a.yaml",
            "https://example.org/a.tar.gz",
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
