//! Scalars, anchors, limits, and printing what was read.

use super::emit::{natural_order, to_json, to_yaml};
use super::parse;
use crate::budget::Budget;
use crate::diagnostic::{Problem, Report, codes};
use crate::tree::{Node, Tag, Value};

fn read(text: &str) -> (Vec<Node>, Vec<Problem>) {
    let mut report = Report::default();
    let documents = parse(text, 0, &mut Budget::default(), &mut report);
    (documents.unwrap_or_default(), report.all())
}

fn one(text: &str) -> Node {
    let (mut documents, problems) = read(text);
    assert!(problems.is_empty(), "{problems:?}");
    documents.remove(0)
}

fn code(text: &str) -> &'static str {
    read(text).1.first().map_or("", |problem| problem.code)
}

#[test]
fn plain_scalars() {
    let text = |text: &str| Value::String(text.to_owned());
    let cases = [
        ("12", Value::Int(12)),
        ("-0x1F", Value::Int(-31)),
        ("0o17", Value::Int(15)),
        ("0755", Value::Int(0o755)),
        ("0b101", Value::Int(5)),
        ("1_000", Value::Int(1000)),
        ("+3", Value::Int(3)),
        ("08", Value::Float(8.0)),
        ("1.5e3", Value::Float(1500.0)),
        (".5", Value::Float(0.5)),
        ("99999999999999999999", Value::Float(1e20)),
        ("~", Value::Null),
        ("Null", Value::Null),
        ("True", Value::Bool(true)),
        ("tRUE", text("tRUE")),
        ("yes", text("yes")),
        ("off", text("off")),
        ("1.2.3", text("1.2.3")),
        ("2001-01-01", text("2001-01-01")),
        ("12:30", text("12:30")),
        ("0x", text("0x")),
        ("--1", text("--1")),
        ("'12'", text("12")),
        ("!!str 12", text("12")),
        ("!!int '12'", Value::Int(12)),
        ("!!float 2", Value::Float(2.0)),
        ("!!bool yes", Value::Bool(true)),
        ("!own 12", text("12")),
    ];
    for (source, wanted) in cases {
        assert_eq!(
            one(&format!("a: {source}")).get("a").unwrap().value,
            wanted,
            "{source}"
        );
    }
    assert!(one(".inf").as_float().unwrap().is_infinite());
}

#[test]
fn places() {
    let text = "a:\n  - 'b c'\n  - é: d\n";
    let document = one(text);
    let a = document.get("a").unwrap();
    let at = |span: crate::tree::Span| &text[span.start as usize..span.end as usize];
    assert_eq!(at(a.key), "a");
    let items = a.as_sequence().unwrap();
    assert_eq!(at(items[0].span), "'b c'");
    assert_eq!(at(items[1].get("é").unwrap().key), "é");
    assert_eq!(at(items[1].get("é").unwrap().span), "d");
}

#[test]
fn merge_keys_and_anchors() {
    let text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\none: {<<: *b, x: 9}\ntwo: {<<: [*b, *m]}\nthree: {<<: {q: 1}}\n";
    let document = one(text);
    let number = |keys: &[&str]| document.at(keys).and_then(Node::as_int);
    assert_eq!(
        (number(&["one", "x"]), number(&["one", "y"])),
        (Some(9), Some(2))
    );
    assert_eq!(
        (number(&["two", "y"]), number(&["two", "z"])),
        (Some(2), Some(4))
    );
    assert_eq!(number(&["three", "q"]), Some(1));
    assert_eq!(one("'<<': 1").get("<<").and_then(Node::as_int), Some(1));
}

#[test]
fn tags_of_compose() {
    let document = one("a: !reset []\nb: !override [1]\nc: [1, !reset 2]\n");
    assert_eq!(
        (
            document.get("a").unwrap().tag,
            document.get("b").unwrap().tag
        ),
        (Tag::Reset, Tag::Override)
    );
    assert_eq!(document.get("c").unwrap().as_sequence().unwrap().len(), 1);
}

#[test]
fn mistakes() {
    assert_eq!(code("a: 1\nb: 2\na: 3\n"), codes::DUPLICATE_KEY);
    assert_eq!(code("1: a"), codes::KEY_NOT_TEXT);
    assert_eq!(code("true: a"), codes::KEY_NOT_TEXT);
    assert_eq!(code("? [a, b]\n: c\n"), codes::KEY_NOT_TEXT);
    assert_eq!(code("a: &x [*x]"), codes::ALIAS_CYCLE);
    assert_eq!(code("a: *nope"), codes::SYNTAX);
    assert_eq!(code("a: [1"), codes::SYNTAX);
    assert_eq!(code("<<: [1]"), codes::BAD_MERGE_KEY);
    // A bad key does not hide the rest.
    assert_eq!(read("1: {a: b}\nc: d\nc: e").1.len(), 2);
}

#[test]
fn bombs_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let before = format!("*a{}, ", i - 1).repeat(9);
        bomb += &format!("a{i}: &a{i} [{}]\n", before.trim_end_matches(", "));
    }
    assert_eq!(code(&bomb), codes::TOO_BIG);
    let long = format!(
        "a: &a '{}'\nb: [{}]\n",
        "x".repeat(1 << 20),
        "*a, ".repeat(100)
    );
    assert_eq!(code(&long), codes::TOO_BIG);
    assert_eq!(code(&"[".repeat(5000)), codes::SYNTAX);
    assert_eq!(
        code(&"a:\n ".repeat(3000).replace("\n ", &format!("\n{}", " "))),
        codes::DUPLICATE_KEY
    );
    let nested: String = (0..99).map(|i| format!("&n{i} [")).collect::<String>()
        + &"x,".repeat(20_000)
        + &"]".repeat(99);
    assert_eq!(code(&nested), codes::TOO_BIG);
}

#[test]
fn several_documents() {
    assert_eq!(read("a: 1\n---\n---\nb: 2\n...\n").0.len(), 2);
    assert_eq!(read("").0.len(), 0);
}

#[test]
fn texts_are_written_so_that_they_read_back() {
    let texts = [
        "",
        " ",
        "a",
        "no",
        "12",
        "0x1",
        "1:30",
        "null",
        "a: b",
        "a #b",
        "- x",
        "-x",
        "?",
        ": x",
        "'q'",
        "\"q\"",
        "a\nb",
        "a\nb\n",
        "a\n\n\nb\n\n",
        "\n",
        " a\nb",
        "a \nb",
        "\ta",
        "tab\tin",
        "é☃",
        "\u{7f}\u{85}\u{2028}",
        "\u{1}",
        "%a",
        "@a",
        "`",
        "{}",
        "[a]",
        "a,b",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "---",
        "--- a",
        "...",
        "a:",
        "#",
        "<<",
        "=",
        "y",
        "~",
        "2001-01-01",
        "\u{feff}x",
        "a\r\nb",
        "C:\\x",
    ];
    for text in texts {
        for tree in [
            Node::mapping(
                [(text.to_owned(), Node::string(text, crate::tree::Span::NONE))].into(),
                crate::tree::Span::NONE,
            ),
            Node::sequence(
                vec![Node::sequence(
                    vec![Node::string(text, crate::tree::Span::NONE)],
                    crate::tree::Span::NONE,
                )],
                crate::tree::Span::NONE,
            ),
        ] {
            let yaml = to_yaml(&tree, false);
            let (documents, problems) = read(&yaml);
            assert_eq!(
                documents.first(),
                Some(&tree),
                "{text:?}: {yaml} {problems:?}"
            );
            // JSON may hold characters that YAML wants escaped.
            if text.contains(['\u{7f}', '\u{85}']) {
                continue;
            }
            let json = to_json(&tree, false).to_string();
            assert_eq!(read(&json).0.first(), Some(&tree), "{text:?}: {json}");
        }
    }
}

#[test]
fn keys_have_a_natural_order() {
    let mut keys = ["b", "a10", "a2", "a", "A", "a_b", "ab", "1", "a2b", "a-b"];
    keys.sort_by(|a, b| natural_order(a, b));
    assert_eq!(
        keys,
        ["1", "A", "a", "a-b", "a_b", "a2", "a2b", "a10", "ab", "b"]
    );
}
