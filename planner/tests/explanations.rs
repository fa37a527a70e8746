//! Every code is explained, and its examples do what they say.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use stack_planner::diagnostic::{CATALOG, Explanation, catalog, explain};
use stack_planner::{LoadOptions, Loaded, MemorySource, load};

/// Codes that a file in a test cannot have: something that cannot be read, limits,
/// and the name of a folder. `diagnostics.rs` and `hostile.rs` look at them.
const WITHOUT_EXAMPLE: [&str; 4] = ["E0101", "E0104", "E0206", "W0901"];

/// Names and contents of the code blocks below `## heading`.
fn files(text: &str, heading: &str) -> Vec<(String, String)> {
    let Some((_, section)) = text.split_once(&format!("\n## {heading}\n")) else {
        return Vec::new();
    };
    let section = section.split("\n## ").next().unwrap();
    let mut found = Vec::new();
    let mut blocks = section.split("```");
    while let (Some(_), Some(block)) = (blocks.next(), blocks.next()) {
        let (info, content) = block.split_once('\n').unwrap();
        let name = info
            .split_once(' ')
            .map_or("compose.yaml", |(_, name)| name);
        found.push((name.to_owned(), content.to_owned()));
    }
    found
}

fn loaded(files: &[(String, String)]) -> Loaded {
    let mut source = MemorySource::new();
    for (name, content) in files {
        source = source.with(format!("/app/{name}"), content.as_str());
    }
    load(
        &source,
        &LoadOptions::new(vec![PathBuf::from("/app/compose.yaml")], "/app".into()),
    )
}

fn codes(explanation: &Explanation, heading: &str) -> Option<BTreeSet<&'static str>> {
    let files = files(explanation.text, heading);
    if files.is_empty() {
        return None;
    }
    Some(
        loaded(&files)
            .all_diagnostics()
            .iter()
            .map(|found| found.code)
            .collect(),
    )
}

#[test]
fn wrong_examples_are_wrong_and_right_ones_are_right() {
    for explanation in CATALOG {
        let code = explanation.code;
        let (wrong, right) = (codes(explanation, "Wrong"), codes(explanation, "Right"));
        if WITHOUT_EXAMPLE.contains(&code) {
            assert!(
                wrong.is_none() && right.is_none(),
                "{code} has an example after all"
            );
            continue;
        }
        let (wrong, right) = (wrong.unwrap(), right.unwrap());
        assert!(wrong.contains(code), "{code} is not among {wrong:?}");
        let others: Vec<_> = wrong
            .iter()
            .filter(|other| **other != code && **other != "W0701")
            .collect();
        assert!(
            others.is_empty(),
            "the wrong example of {code} has {others:?} as well"
        );
        let unwanted: Vec<_> = right.iter().filter(|other| **other != "W0701").collect();
        assert!(
            unwanted.is_empty(),
            "the right example of {code} has {unwanted:?}"
        );
    }
}

#[test]
fn every_code_has_a_text() {
    let source = include_str!("../src/diagnostic/codes.rs");
    let codes: BTreeSet<_> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split('"').nth(1))
        .collect();
    let explained: BTreeSet<_> = CATALOG.iter().map(|explanation| explanation.code).collect();
    assert_eq!(codes, explained);
    for explanation in CATALOG {
        assert!(explanation.text.starts_with("# "), "{}", explanation.code);
        assert!(!explanation.title().ends_with('.'), "{}", explanation.code);
    }
}

#[test]
fn codes_are_found() {
    assert_eq!(
        explain("e0401").unwrap().title(),
        "The attribute does not exist"
    );
    assert!(explain("E9999").is_none());
    let near: Vec<_> = catalog::similar("E041")
        .iter()
        .map(|found| found.code)
        .collect();
    assert!(near.contains(&"E0401"), "{near:?}");
    assert_eq!(catalog::similar("include")[0].code, "E0301");
    assert!(catalog::similar("zzzzzzzz").is_empty());
}

/// `STACK_UPDATE=1` writes the table anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may read files")]
fn the_documentation_lists_every_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/diagnostics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (start, end) = ("<!-- codes -->\n", "<!-- end of codes -->\n");
    let before = text.split(start).next().unwrap();
    let after = text.split(end).nth(1).unwrap();
    let wanted = format!("{before}{start}{}{end}{after}", catalog::table());
    if std::env::var_os("STACK_UPDATE").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    assert_eq!(text, wanted, "run this test with STACK_UPDATE=1");
}
