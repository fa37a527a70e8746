//! House rules that no compiler checks.

use std::path::{Path, PathBuf};

use stack_tests::workspace;

const LONGEST: usize = 800;
const MEDIAN: usize = 170;
/// Names that say nothing about what is inside.
const BANNED: [&str; 6] = [
    "utils.rs",
    "util.rs",
    "common.rs",
    "helpers.rs",
    "misc.rs",
    "stuff.rs",
];

/// The project's own files, without what is built.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(workspace(), &mut found);
    found.sort();
    assert!(found.len() > 50, "the checkout was not found");
    found
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if path.is_symlink() || name == "target" || name == ".git" {
            continue;
        }
        if path.is_dir() {
            walk(&path, found)
        } else {
            found.push(path)
        }
    }
}

fn with_extension(extension: &str) -> impl Iterator<Item = (PathBuf, String)> {
    let wanted = extension.to_owned();
    files()
        .into_iter()
        .filter(move |path| path.extension().is_some_and(|e| *e == *wanted))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source file is text");
            (path, text)
        })
}

/// Fails with every offender by its path in the checkout.
fn none(rule: &str, offenders: impl IntoIterator<Item = (PathBuf, String)>) {
    let lines: Vec<String> = offenders
        .into_iter()
        .map(|(path, what)| {
            format!(
                "  {}: {what}",
                path.strip_prefix(workspace()).unwrap_or(&path).display()
            )
        })
        .collect();
    assert!(lines.is_empty(), "{rule}:\n{}", lines.join("\n"));
}

#[test]
fn no_placeholder_is_left_in_a_document() {
    let is_one = |line: &&str| {
        let word = line.trim();
        word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    let left = with_extension("md").filter_map(|(path, text)| {
        let line = text.lines().find(is_one)?;
        Some((path, line.to_owned()))
    });
    none(
        "a line of capitals alone stands for a text that is missing",
        left,
    );
}

#[test]
fn source_files_are_short() {
    let mut sizes: Vec<(usize, PathBuf)> = with_extension("rs")
        .map(|(path, text)| (text.lines().count(), path))
        .collect();
    sizes.sort();
    let median = sizes[sizes.len() / 2].0;
    assert!(
        median <= MEDIAN,
        "the median source file has {median} lines, more than {MEDIAN}"
    );
    let long = sizes.into_iter().filter(|(lines, _)| *lines > LONGEST);
    none(
        "too long",
        long.map(|(lines, path)| (path, format!("{lines} lines"))),
    );
}

#[test]
fn every_module_says_what_it_is() {
    let silent = with_extension("rs").filter(|(_, text)| !text.starts_with("//!"));
    none(
        "no //! at the top",
        silent.map(|(path, _)| (path, "silent".to_owned())),
    );
}

#[test]
fn file_names_say_what_is_inside() {
    let vague = files().into_iter().filter(|path| {
        path.file_name()
            .is_some_and(|name| BANNED.iter().any(|banned| *name == **banned))
    });
    none(
        "rename",
        vague.map(|path| (path, "says nothing".to_owned())),
    );
}

#[test]
fn nothing_is_left_for_later() {
    // In pieces, for this file is read as well.
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["todo", "!("].concat(),
    ];
    let sources = with_extension("rs")
        .chain(with_extension("sh"))
        .chain(with_extension("py"));
    let marked = sources.filter_map(|(path, text)| {
        let line = text
            .lines()
            .position(|line| marks.iter().any(|mark| line.contains(mark)))?;
        Some((path, format!("line {}", line + 1)))
    });
    none("do it or open an issue", marked);
}

#[test]
fn no_file_knows_where_this_checkout_is() {
    let here = workspace().display().to_string();
    let telling = files().into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        let line = text.lines().position(|line| line.contains(&here))?;
        Some((path, format!("line {}", line + 1)))
    });
    none("a path of this machine", telling);
}

#[test]
fn scripts_say_how_they_are_called() {
    let is_script = |text: &str| text.starts_with("#!");
    let silent = files().into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        let head = text.lines().take(25).any(|line| line.contains("usage:"));
        (is_script(&text) && !head).then(|| (path, "no `usage:` at the top".to_owned()))
    });
    none("scripts", silent);
}

#[test]
fn every_crate_follows_the_workspace() {
    let crates = files()
        .into_iter()
        .filter(|path| path.ends_with("Cargo.toml"));
    let stray = crates.filter_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        let required = ["[lints]\nworkspace = true", "edition.workspace = true"];
        let missing = required.into_iter().find(|wanted| !text.contains(wanted))?;
        text.contains("[package]")
            .then(|| (path, format!("lacks {missing:?}")))
    });
    none("crates", stray);
}
