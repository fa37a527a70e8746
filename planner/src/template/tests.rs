//! Interpolation: operators, nesting, escapes.

use std::collections::BTreeMap;

use super::{TemplateError, Variables, substitute};

struct Fixed(BTreeMap<&'static str, &'static str>, Vec<String>);

impl Variables for Fixed {
    fn get(&mut self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }

    fn unset(&mut self, name: &str) {
        self.1.push(name.to_owned());
    }
}

fn run(text: &str) -> (Result<String, TemplateError>, Vec<String>) {
    let mut variables = Fixed([("FOO", "first"), ("BAR", "")].into(), Vec::new());
    (substitute(text, &mut variables), variables.1)
}

#[test]
fn operators() {
    let cases = [
        ("ok $FOO ${FOO}!", "ok first first!"),
        ("$$FOO $${FOO} $", "$FOO ${FOO} $"),
        (
            "${BAR:-def} ${BAR-def} ${NO:-def} ${NO-def}",
            "def  def def",
        ),
        ("${FOO:+r} ${BAR:+r} ${BAR+r} ${NO+r}", "r  r "),
        ("${FOO:?e} ${BAR?e}", "first "),
        ("${NO:-${BAR:-${FOO}}}", "first"),
        ("${NO:-{\"a\": {}}}", "{\"a\": {}}"),
        ("${NO:-a-b:?c}", "a-b:?c"),
        ("$1 $! ${NO:-$$x}", "$1 $! $x"),
        ("${NO-}", ""),
    ];
    for (template, wanted) in cases {
        assert_eq!(run(template).0.as_deref(), Ok(wanted), "{template}");
    }
}

#[test]
fn an_operand_that_is_not_used_is_not_evaluated() {
    let (value, unset) = run("${FOO:-${NO:?boom}${OTHER}}");
    assert_eq!(value.as_deref(), Ok("first"));
    assert!(unset.is_empty());
}

#[test]
fn unset_is_reported_once_per_use() {
    assert_eq!(run("$NO ${NO}").1, ["NO", "NO"]);
}

#[test]
fn mistakes() {
    for bad in [
        "${", "${}", "${ }", "${ FOO}", "${FOO }", "${FOO", "${1}", "${FOO!x}", "${FOO:x}",
        "a ${:-b}",
    ] {
        assert!(
            matches!(run(bad).0, Err(TemplateError::Invalid(_))),
            "{bad}"
        );
    }
    let error = run("${NO:?why $FOO}").0;
    assert_eq!(
        error,
        Err(TemplateError::Required {
            name: "NO".to_owned(),
            reason: "why first".to_owned()
        })
    );
}

#[test]
fn depth_is_bounded() {
    let deep = format!("{}x{}", "${NO:-".repeat(1000), "}".repeat(1000));
    assert_eq!(run(&deep).0, Err(TemplateError::TooBig));
}
