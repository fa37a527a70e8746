//! The grammar of `.env` files.

use std::collections::BTreeMap;

use super::{DotenvError, parse, parse_raw};

fn read(text: &str) -> Result<BTreeMap<String, String>, DotenvError> {
    let mut out = BTreeMap::new();
    let lookup = |name: &str| (name == "SHELL_VAR").then(|| "sh".to_owned());
    parse(text, &mut out, &lookup, &mut |_, _| {})
        .map(|()| out)
        .map_err(|mut errors| errors.remove(0))
}

#[test]
fn values() {
    let cases = [
        ("A=b", "b"),
        ("export A=b", "b"),
        ("export\tA = b", "b"),
        ("A: b", "b"),
        ("A=b # comment", "b"),
        ("A=b#no comment", "b#no comment"),
        ("A=", ""),
        ("A='b $C # d'", "b $C # d"),
        ("A=\"b\\n\\\"c\\\" \\$D\"", "b\n\"c\" $D"),
        ("A='b\\'c'", "b'c"),
        ("A=\"one\ntwo\"", "one\ntwo"),
        ("A=${SHELL_VAR}-${NOPE:-d}", "sh-d"),
        ("B=1\nA=$B", "1"),
        ("\u{feff}# first\n\n  A=b\r\n", "b"),
        ("A=\"\\0123\\x\"", "S\\x"),
        ("A=b\nA=c", "c"),
        ("A=\"x\" # after\n", "x"),
    ];
    for (text, wanted) in cases {
        assert_eq!(read(text).unwrap()["A"], wanted, "{text:?}");
    }
}

#[test]
fn a_name_alone_is_taken_from_outside() {
    let all = read("SHELL_VAR\nNOPE\nexport OTHER").unwrap();
    assert_eq!(
        all.into_iter().collect::<Vec<_>>(),
        [("SHELL_VAR".to_owned(), "sh".to_owned())]
    );
}

#[test]
fn mistakes_have_a_place() {
    for (text, at) in [
        ("A=1\nB C=2", 4),
        ("A=\"x", 2),
        ("A!=1", 1),
        ("=x", 0),
        ("\u{feff}A=${", 5),
    ] {
        assert_eq!(read(text).unwrap_err().at, at, "{text:?}");
    }
}

#[test]
fn raw_values_stay() {
    let mut out = BTreeMap::new();
    parse_raw("# c\nA=\"$B\" # d\nSAME\n", &mut out, &|name| {
        Some(name.to_lowercase())
    });
    assert_eq!(
        out.into_iter()
            .map(|(k, v)| k + "=" + &v)
            .collect::<Vec<_>>(),
        ["A=\"$B\" # d", "SAME=same"]
    );
}

#[test]
fn all_mistakes_are_found_and_the_other_lines_read() {
    let mut out = BTreeMap::new();
    let text = "A=1\nB C=2\nD=3\n=x\nE=${\nF=4\nG!=1\nH='5'\nI=\"x\nJ=6\n";
    let errors = parse(text, &mut out, &|_| None, &mut |_, _| {}).unwrap_err();
    let at: Vec<_> = errors.iter().map(|error| error.at).collect();
    let wanted = ["B C", "=x", "${", "!=1", "\"x"].map(|part| text.find(part).unwrap());
    assert_eq!(at, wanted);
    let names: Vec<_> = out.keys().map(String::as_str).collect();
    assert_eq!(names, ["A", "D", "F", "H", "J"]);
}
