//! Rendered findings: every case of `planner/tests/cases` as a person and as a
//! program sees it, and every explanation's wrong example.

use std::path::{Path, PathBuf};

use stack_planner::diagnostic::{CATALOG, Explanation};
use stack_planner::{LoadOptions, Loaded, MemorySource, load};

use super::{brief, drawn, json};
use crate::ui::{Paint, Ui};

fn ui() -> Ui {
    Ui {
        out: Paint(false),
        err: Paint(false),
        live: false,
        width: 100,
    }
}

fn loaded(files: &[(String, String)]) -> Loaded {
    let mut source = MemorySource::new();
    for (name, content) in files {
        source = source.with(format!("/app/{name}"), content.as_str());
    }
    let all = files
        .iter()
        .map(|(name, _)| PathBuf::from(format!("/app/{name}")));
    let named = all.filter(|path| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("compose")
    });
    let mut options = LoadOptions::new(named.collect(), "/app".into());
    options
        .environment
        .insert("IMAGE_TAG".to_owned(), "1".to_owned());
    load(&source, &options)
}

/// All findings as they are shown, in the order of their places.
fn rendered(files: &[(String, String)]) -> String {
    let loaded = loaded(files);
    let text = |file: &Path| loaded.source_text(file).map(str::to_owned);
    let found = loaded.all_diagnostics();
    let shown: Vec<_> = found.iter().map(|found| drawn(ui(), found, text)).collect();
    shown.join("\n")
}

#[test]
fn a_warning_is_told_in_a_line() {
    let text = "# grüße\nname: a\nversion: \"3\"\nservices:\n  a:\n    image: b\n";
    let loaded = loaded(&[("compose.yaml".to_owned(), text.to_owned())]);
    let source = |file: &Path| loaded.source_text(file).map(str::to_owned);
    let told: Vec<_> = loaded.all_diagnostics();
    let told: Vec<_> = told.iter().map(|d| brief(ui(), d, source)).collect();
    assert_eq!(
        told,
        ["/app/compose.yaml:3:1: `version` has no meaning: leave it out (W0401)"]
    );
}

/// The files of a case: the first is `compose.yaml`, others follow `#@ name` lines.
fn split(text: &str) -> Vec<(String, String)> {
    let mut files = vec![("compose.yaml".to_owned(), String::new())];
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("#@ ") {
            Some(name) => files.push((name.trim().to_owned(), String::new())),
            None => files.last_mut().unwrap().1.push_str(line),
        }
    }
    files
}

/// Code blocks below `## Wrong`.
fn wrong(explanation: &Explanation) -> Vec<(String, String)> {
    let section = explanation
        .text
        .split("\n## Wrong\n")
        .nth(1)
        .unwrap_or_default();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```").skip(1).step_by(2);
    let file = |block: &str| {
        let (info, content) = block.split_once('\n').unwrap();
        let name = info
            .split_once(' ')
            .map_or("compose.yaml", |(_, name)| name);
        (name.to_owned(), content.to_owned())
    };
    blocks.map(file).collect()
}

#[test]
fn every_code_is_rendered() {
    for explanation in CATALOG {
        let files = wrong(explanation);
        if !files.is_empty() {
            insta::assert_snapshot!(explanation.code, rendered(&files));
        }
    }
}

/// Codes that no example can show: what cannot be read, limits, a folder's name.
#[test]
fn codes_without_an_example() {
    let shown = |loaded: &Loaded, code: &str| {
        let found = loaded.diagnostics.iter().find(|found| found.code == code);
        let text = |file: &Path| loaded.source_text(file).map(str::to_owned);
        drawn(ui(), found.unwrap(), text)
    };
    let none = LoadOptions::new(vec!["/app/none.yaml".into()], "/app".into());
    let unreadable = load(&MemorySource::new(), &none);
    insta::assert_snapshot!("E0101", shown(&unreadable, "E0101"));

    let mut bomb = "x-0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for i in 1..9 {
        let list = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb += &format!("x-{i}: &a{i} [{list}]\n");
    }
    let file = |text: String| [("compose.yaml".to_owned(), text)];
    insta::assert_snapshot!("E0104", shown(&loaded(&file(bomb)), "E0104"));

    let source = MemorySource::new().with("/---/compose.yaml", "services: {a: {image: i}}\n");
    let nameless = LoadOptions::new(vec!["/---/compose.yaml".into()], "/".into());
    insta::assert_snapshot!("E0206", shown(&load(&source, &nameless), "E0206"));

    let many: String = (0..300).map(|i| format!("k{i}: 1\n")).collect();
    insta::assert_snapshot!("W0901", shown(&loaded(&file(many)), "W0901"));
}

#[test]
fn every_code_has_a_snapshot() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/project/diagnostics/snapshots");
    for explanation in CATALOG {
        let name = format!(
            "stack__project__diagnostics__tests__{}.snap",
            explanation.code
        );
        let text = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(text.contains(explanation.code), "{name} does not show it");
    }
}

#[test]
fn every_case_is_rendered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../planner/tests/cases");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() > 30, "{paths:?}");
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = format!("case-{}", path.file_stem().unwrap().to_str().unwrap());
        insta::assert_snapshot!(name, rendered(&split(&text)));
    }
}

#[test]
fn programs_get_lines_and_columns() {
    let text = "services:\n  wéb:\n    imagee: nginx\n  db: {image: d, extends: {file: no.yaml, service: x}}\n";
    let loaded = loaded(&[("compose.yaml".to_owned(), text.to_owned())]);
    let lines: Vec<serde_json::Value> = loaded
        .all_diagnostics()
        .iter()
        .map(|found| {
            let line = json::line(found, |file| loaded.source_text(file).map(str::to_owned));
            assert!(!line.contains('\n'));
            serde_json::from_str(&line).unwrap()
        })
        .collect();
    let codes: Vec<_> = lines
        .iter()
        .map(|line| line["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["E0405", "E0401", "E0303"]);
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&lines[1]).unwrap());
}

#[test]
fn a_finding_without_its_text_is_still_shown() {
    let loaded = loaded(&[("compose.yaml".to_owned(), "service: {}\n".to_owned())]);
    let bare = drawn(ui(), &loaded.diagnostics[0], |_| None);
    assert!(bare.contains("not an attribute"), "{bare}");
}
