//! Patterns in the syntax of `.dockerignore` (Dockerfile reference,
//! ".dockerignore file"): anchored, `**` over any number of directories, `!`
//! for exceptions, the last one that matches decides. What is in a matched
//! directory is matched as well.

use globset::{Error, GlobBuilder, GlobMatcher};

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
    list: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    glob: GlobMatcher,
    exception: bool,
    /// Of an exception: each name of the path. It ends where any number of
    /// directories may follow, or one name cannot be told from the next, which
    /// is `None`.
    names: Vec<Option<GlobMatcher>>,
}

impl Patterns {
    /// Reads patterns; comments (`#`) and empty ones are passed over.
    ///
    /// # Errors
    /// One of them is no pattern: which, and why.
    pub fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Patterns, String> {
        let mut list = Vec::new();
        for (n, line) in lines.into_iter().enumerate() {
            let line = match n {
                0 => line.strip_prefix('\u{feff}').unwrap_or(line),
                _ => line,
            };
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
        for pattern in &self.list {
            if matched == pattern.exception && covers(&pattern.glob, path) {
                matched = !pattern.exception;
            }
        }
        matched
    }

    /// Is a directory matched, and can nothing in it be an exception?
    pub fn matches_all_in(&self, directory: &str) -> bool {
        let decides = |pattern: &Pattern| !pattern.exception && covers(&pattern.glob, directory);
        let Some(last) = self.list.iter().rposition(decides) else {
            return false;
        };
        let mut later = self.list[last + 1..].iter();
        !later.any(|pattern| pattern.exception && pattern.may_match_in(directory))
    }
}

impl Pattern {
    /// Can it match the directory, or something in it?
    fn may_match_in(&self, directory: &str) -> bool {
        let mut names = self.names.iter();
        for name in directory.split('/') {
            match names.next() {
                // It matches a directory that this one is in.
                None | Some(None) => return true,
                Some(Some(glob)) if !glob.is_match(name) => return false,
                Some(Some(_)) => {}
            }
        }
        true
    }
}

fn pattern(text: &str) -> Result<Option<Pattern>, String> {
    let (text, exception) = match text.strip_prefix('!') {
        Some(rest) => (rest.trim(), true),
        None => (text, false),
    };
    let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
    let clean = at_any_depth(&parts.collect::<Vec<_>>().join("/"));
    if clean.is_empty() {
        return Ok(None);
    }
    let bad = |error: Error| format!("`{text}`: {}", error.kind());
    let mut names = Vec::new();
    if exception {
        for name in clean.split('/') {
            let glob = glob(name).ok().filter(|_| !name.contains("**"));
            let is_last = glob.is_none();
            names.push(glob);
            if is_last {
                break;
            }
        }
    }
    Ok(Some(Pattern {
        glob: glob(&clean).map_err(bad)?,
        exception,
        names,
    }))
}

fn glob(text: &str) -> Result<GlobMatcher, Error> {
    let glob = GlobBuilder::new(&without_alternatives(text))
        .literal_separator(true)
        .backslash_escape(true)
        .build()?;
    Ok(glob.compile_matcher())
}

/// A `**` that begins a name stands for directories before it, as for Docker
/// (moby/patternmatcher): `**.env` is any path that ends so, and with another
/// wildcard `**x?` is `**/x?`.
fn at_any_depth(pattern: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut rest = pattern;
    loop {
        let (name, later) = match rest.split_once('/') {
            Some((name, later)) => (name, Some(later)),
            None => (rest, None),
        };
        match name.strip_prefix("**").filter(|end| !end.is_empty()) {
            None => out.push(name.to_owned()),
            Some(end) => {
                let plain = !rest[2..].contains(['*', '?', '[', '\\']);
                let any = if out.is_empty() && plain { "*" } else { "" };
                out.extend(["**".to_owned(), format!("{any}{end}")]);
            }
        }
        match later {
            Some(later) => rest = later,
            None => return out.join("/"),
        }
    }
}

/// Braces mean themselves, as for Docker.
fn without_alternatives(text: &str) -> String {
    let mut out = String::new();
    let (mut escaped, mut in_class) = (false, false);
    for c in text.chars() {
        match c {
            '{' | '}' if !escaped && !in_class => out.extend(['[', c, ']']),
            _ => out.push(c),
        }
        match c {
            _ if escaped => {}
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    out
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
    fn two_stars_need_no_slash_after_them() {
        let list = patterns(&["**.env", "**node_modules", "**x?z", "a/**b", "!**keep.env"]);
        for path in [
            ".env",
            "prod.env",
            "a/b/prod.env",
            "web/node_modules/x.js",
            "old_node_modules",
            "d/xyz",
            "a/b",
            "a/c/d/b",
        ] {
            assert!(list.matches(path), "{path}");
        }
        for path in [
            "prod.envs",
            "d/axyz",
            "c/b",
            "a/ab",
            "b/keep.env",
            "my-keep.env",
        ] {
            assert!(!list.matches(path), "{path}");
        }
        assert!(!list.matches_all_in("web/node_modules"));
        assert!(patterns(&["**node_modules"]).matches_all_in("web/node_modules"));
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
    fn only_directories_that_may_have_an_exception_are_looked_into() {
        let list = patterns(&["*", "!src/*/main.c", "!x/**/y", "data", "!d?ta/a", "z/z"]);
        for looked_into in ["src", "src/a", "x", "x/a/b", "data"] {
            assert!(list.matches(looked_into), "{looked_into}");
            assert!(!list.matches_all_in(looked_into), "{looked_into}");
        }
        for skipped in ["y", "src/a/b", "data/b", "z", ".git"] {
            assert!(list.matches_all_in(skipped), "{skipped}");
        }
        // An exception of before does not count.
        assert!(patterns(&["!a/b", "a"]).matches_all_in("a"));
        assert!(!patterns(&["a", "!a"]).matches_all_in("a"));
    }

    #[test]
    fn braces_and_a_mark_of_the_byte_order_are_nothing_special() {
        let list = patterns(&["\u{feff}*.log", "{a,b}", r"\{c", "[{]d"]);
        for path in ["x.log", "{a,b}", "{c", "{d"] {
            assert!(list.matches(path), "{path}");
        }
        assert!(!list.matches("a"));
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
