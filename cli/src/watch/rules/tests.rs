//! Rules of stack files, as far as they can be followed.

use stack_planner::{LoadOptions, MemorySource, load};

use super::*;
use crate::ui::Ansi;

fn rules(service: &str, build: Option<BuildWhen>) -> Result<(Vec<Rule>, Project, Up), Error> {
    let text = format!("name: shop\nservices:\n  web:\n    image: web\n{service}");
    let source = MemorySource::new().with("/p/stack.yaml", text);
    let options = LoadOptions::new(vec!["/p/stack.yaml".into()], "/p".into());
    let loaded = load(&source, &options);
    let project = loaded
        .project
        .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    let started = Up {
        spec: project.spec().unwrap(),
        build,
        ..Up::default()
    };
    let rules = of(Ui::new(Ansi::Never), &project, &started)?;
    Ok((rules, project, started))
}

fn refusal(service: &str, build: Option<BuildWhen>) -> String {
    rules(service, build).unwrap_err().to_string()
}

#[test]
fn a_rebuild_needs_a_build() {
    let rule = "    develop: {watch: [{path: ./src, action: rebuild}]}\n";
    assert!(refusal(rule, None).contains("has no `build`"));
    let built = format!("    build: .\n{rule}");
    assert_eq!(rules(&built, None).unwrap().0.len(), 1);
    assert!(refusal(&built, Some(BuildWhen::Never)).contains("--no-build"));
}

#[test]
fn what_is_mounted_is_not_copied() {
    let rule = |action: &str| {
        format!(
            "    volumes: [./src:/app]\n    develop: {{watch: [{{path: ./src, target: /app, \
             action: {action}, exec: {{command: [reload]}}}}]}}\n"
        )
    };
    assert!(refusal(&rule("sync"), None).contains("nothing to watch"));
    let (rules, ..) = rules(&rule("sync+exec"), None).unwrap();
    assert_eq!(rules[0].target, None, "the command alone");
}

#[test]
fn what_is_mounted_below_is_left_out() {
    let text = "    volumes: ['./da[t]a:/app/da[t]a', './conf:/etc/conf']\n    develop: {watch: \
                [{path: ., target: /app/, action: sync}]}\n";
    let (rules, project, started) = rules(text, None).unwrap();
    let filter = filter(&project, &rules[0], &started.spec).unwrap();
    assert!(filter.prunes(Path::new("/p/da[t]a")));
    assert!(!filter.prunes(Path::new("/p/data")));
    assert!(!filter.prunes(Path::new("/p/conf")));
}
