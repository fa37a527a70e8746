//! Patterns in the syntax of `.dockerignore` (Dockerfile reference,
//! ".dockerignore file"): anchored, `**` over any number of directories, `!`
//! for exceptions, the last one that matches decides. What is in a matched
//! directory is matched as well.

use globset::{GlobBuilder, GlobMatcher};

/// What editors write beside the file that is edited, as Docker Compose
/// leaves it alone.
const EDITOR_FILES: &[&str] = &[
    "**/.idea",
    "**/*~",
    "**/.*.swp",
    "**/.*.swx",
    "**/.*.swo",
    "**/.*.swn",
    "**/4913",
    "**/.#*",
    "**/#*#",
    "**/*___jb_tmp___",
    "**/*___jb_old___",
    "**/.*.kate-swp",
    "**/.goutputstream-*",
    "**/.git",
];

/// A list of patterns.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    list: Vec<(GlobMatcher, bool)>,
}

impl Patterns {
    /// Reads patterns; comments (`#`) and empty ones are passed over.
    ///
    /// # Errors
    /// One of them is no pattern: which, and why.
    pub fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Patterns, String> {
        let mut list = Vec::new();
        for line in lines {
            let text = line.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            list.extend(pattern(text)?);
        }
        Ok(Patterns { list })
    }

    /// What editors leave behind, and `.git`.
    pub fn of_editors() -> Patterns {
        let list = EDITOR_FILES
            .iter()
            .filter_map(|text| pattern(text).ok().flatten())
            .collect();
        Patterns { list }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Does the list match `path`, or a directory that it is in? Relative,
    /// `/` between names.
    pub fn matches(&self, path: &str) -> bool {
        let mut matched = false;
        for (glob, exception) in &self.list {
            if matched == *exception && covers(glob, path) {
                matched = !exception;
            }
        }
        matched
    }

    /// Nothing in a directory that is matched can be an exception.
    pub fn matches_all_in(&self, directory: &str) -> bool {
        self.matches(directory) && !self.list.iter().any(|(_, exception)| *exception)
    }
}

fn pattern(text: &str) -> Result<Option<(GlobMatcher, bool)>, String> {
    let (text, exception) = match text.strip_prefix('!') {
        Some(rest) => (rest.trim(), true),
        None => (text, false),
    };
    let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
    let clean = parts.collect::<Vec<_>>().join("/");
    if clean.is_empty() {
        return Ok(None);
    }
    let glob = GlobBuilder::new(&clean)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| format!("`{text}`: {}", error.kind()))?;
    Ok(Some((glob.compile_matcher(), exception)))
}

fn covers(glob: &GlobMatcher, path: &str) -> bool {
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.chain([path.len()])
        .any(|end| glob.is_match(&path[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(list: &[&str]) -> Patterns {
        Patterns::new(list.iter().copied()).unwrap()
    }

    #[test]
    fn patterns_are_anchored() {
        let list = patterns(&["node_modules/", "/build", "*.tmp"]);
        assert!(list.matches("node_modules"));
        assert!(list.matches("node_modules/a/b.js"));
        assert!(list.matches("build/x"));
        assert!(list.matches("a.tmp"));
        assert!(!list.matches("sub/a.tmp"));
        assert!(!list.matches("sub/node_modules/a"));
    }

    #[test]
    fn two_stars_go_through_directories() {
        let list = patterns(&["**/*.pyc", "a/**/z"]);
        assert!(list.matches("x.pyc"));
        assert!(list.matches("a/b/x.pyc"));
        assert!(list.matches("a/z"));
        assert!(list.matches("a/b/c/z"));
    }

    #[test]
    fn the_last_match_decides() {
        let list = patterns(&["docs", "!docs/README.md", "# comment", ""]);
        assert!(list.matches("docs/a.md"));
        assert!(!list.matches("docs/README.md"));
        assert!(list.matches("docs") && !list.matches_all_in("docs"));
        assert!(patterns(&["docs"]).matches_all_in("docs/deep"));
    }

    #[test]
    fn a_bad_pattern_is_named() {
        assert!(Patterns::new(["[a"]).unwrap_err().contains("[a"));
    }

    #[test]
    fn files_of_editors_are_known() {
        let list = Patterns::of_editors();
        for path in ["src/.app.py.swp", "app.py~", "src/4913", ".git/HEAD"] {
            assert!(list.matches(path), "{path}");
        }
        assert!(!list.matches("src/app.py"));
    }
}
