//! Formatting changes nothing but the layout.

use std::path::Path;

use proptest::prelude::*;

use super::{FormatError, format};

fn fmt(text: &str) -> String {
    format(text, Path::new("stack.yaml")).unwrap()
}

#[test]
fn the_layout_is_made_usual() {
    let text = "\
# The shop.

name:   shop
services:
    web:   # in front
        image:  'nginx:1.27'
        ports:
        - \"80:80\"
        -   8080:8080
        environment: { A: \"1\",   B: yes }


    db:
        <<: *base
        image: postgres:17
        command: >
          a
          b
x-base: &base
   restart:    always
";
    let text = text.replace("        <<: *base\n", "");
    let wanted = "\
# The shop.

name: shop
services:
  web: # in front
    image: \"nginx:1.27\"
    ports:
      - \"80:80\"
      - 8080:8080
    environment: {A: \"1\", B: yes}

  db:
    image: postgres:17
    command: >
      a
      b
x-base: &base
  restart: always
";
    assert_eq!(fmt(&text), wanted);
    assert_eq!(fmt(wanted), wanted);
}

#[test]
fn what_is_said_stays() {
    for text in [
        "a: '1'\nb: \"x\\ty\"\nc: 'it''s'\n",
        "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: !reset null\n  f: !override [1]\n",
        "---\na: 1\n---\nb: 2\n...\n",
        "b: |-\n  x\n   y\nc: >2\n    z\nd: |\n  spaces  \n  x\n",
        "a:\n  # one\n  - b # two\n  # three\n# four\nc: {} # five\n# six\n",
        "? a\n: b\n",
        "a: \"long long long long long long long long long long long long long long long long long long long long long\"\n",
        "a: [\"CMD\", \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\", \"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"]\n",
        "a: plain text\n  on two lines\n",
        "a:\n- b: 1\n  c: 2\n-   - d\n",
        "",
        "# only a comment\n",
    ] {
        let once = fmt(text);
        assert_eq!(fmt(&once), once, "{text}");
    }
    assert_eq!(fmt("a:   1\r\nb: 2\r\n"), "a: 1\r\nb: 2\r\n");
    assert_eq!(fmt("\u{feff}a: 1\n"), "a: 1\n");
}

#[test]
fn what_is_no_yaml_is_shown() {
    let Err(FormatError::Syntax(found)) = format("a: [1\nb: 2", Path::new("x.yaml")) else {
        panic!("accepted")
    };
    assert_eq!(found[0].labels[0].file, Path::new("x.yaml"));
}

#[test]
fn what_would_change_is_refused() {
    // The empty lines are part of the text.
    let found = format("a: |+\n  text\n\n\nb: 1\n", Path::new("x"));
    assert!(matches!(found, Err(FormatError::Refused(why)) if why.contains("text")));
    let long = "# x\n".repeat(1 << 20);
    assert!(matches!(
        format(&long, Path::new("x")),
        Err(FormatError::Refused(_))
    ));
}

#[test]
fn an_ignored_part_stays() {
    let text =
        "a:\n  c:   0\n  # stack-fmt: ignore\n  matrix: [1,  2,\n           3,  4]\n  b:   1\n";
    let once = fmt(text);
    assert!(once.contains("[1,  2,\n           3,  4]"), "{once}");
    assert!(once.contains("  b: 1\n"), "{once}");
}

fn yaml() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        "[a-z]{1,6}",
        "'[a-z \"\\\\]{0,6}'",
        "\"[a-z ']{0,6}\"",
        Just("1".to_owned()),
        Just("&a x".to_owned()),
        Just("[a,  b]".to_owned()),
        Just("{a:  b,c: d}".to_owned()),
        Just("|\n            x\n             y\n".to_owned()),
    ];
    let line = (
        "[a-z]{1,4}",
        scalar,
        prop_oneof![
            Just(""),
            Just("  # note"),
            Just("\n\n\n"),
            Just("\n# above")
        ],
    );
    proptest::collection::vec((0..3usize, line), 1..12).prop_map(|lines| {
        let mut out = String::new();
        for (i, (indent, (key, value, after))) in lines.into_iter().enumerate() {
            let pad = " ".repeat(indent * 3);
            out.push_str(&format!("k{i}:\n{pad}  {key}{i}:   {value}{after}\n"));
        }
        out
    })
}

proptest! {
    #[test]
    fn formatting_twice_is_formatting_once(text in yaml()) {
        match format(&text, Path::new("x")) {
            Ok(once) => prop_assert_eq!(format(&once, Path::new("x")).unwrap(), once),
            Err(FormatError::Syntax(_)) => {}
            Err(FormatError::Refused(why)) => prop_assert!(false, "{}: {}", why, text),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// The formatter may refuse, but neither panics nor changes what is said.
    #[test]
    fn any_text_is_formatted_or_refused(text in "([ab\"'#&*!|>?:{}\\[\\],%-]| |: |- |\n|\n  |\n    |\t|é){0,40}") {
        if let Ok(once) = format(&text, Path::new("x")) {
            prop_assert_eq!(format(&once, Path::new("x")), Ok(once));
        }
    }
}

/// `STACK_CONFORMANCE` is a folder of cases: each is formatted, and gives the
/// same model before and after.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its cases")]
fn cases_keep_their_model() {
    use crate::{LoadOptions, MemorySource, load};
    let Ok(folder) = std::env::var("STACK_CONFORMANCE") else {
        return;
    };
    let model = |text: &str, environment: &std::collections::BTreeMap<String, String>| {
        let source = MemorySource::new().with("/case/compose.yaml", text);
        let mut options = LoadOptions::new(vec!["/case/compose.yaml".into()], "/case".into());
        options.environment = environment.clone();
        load(&source, &options)
            .project
            .map(|project| project.to_json())
    };
    let mut wrong = Vec::new();
    let (mut seen, mut loaded) = (0, 0);
    for case in crate::test_cases::accepted(Path::new(&folder)) {
        seen += 1;
        match format(&case.text, Path::new("compose.yaml")) {
            Ok(once) => {
                let before = model(&case.text, &case.environment);
                loaded += usize::from(before.is_some());
                if before != model(&once, &case.environment)
                    || format(&once, Path::new("x")) != Ok(once)
                {
                    wrong.push(case.name);
                }
            }
            Err(why) => wrong.push(format!("{}: {why:?}", case.name)),
        }
    }
    assert!(
        seen > 100 && loaded > 100,
        "{seen} cases in {folder}, {loaded} loaded"
    );
    assert!(wrong.is_empty(), "{} of {seen}: {wrong:#?}", wrong.len());
}
