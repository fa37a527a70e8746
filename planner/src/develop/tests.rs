//! Rules as they are read from stack files.

use super::WatchAction;
use crate::{LoadOptions, MemorySource, Project, load};

fn project(text: &str) -> Project {
    let source = MemorySource::new().with("/p/stack.yaml", text);
    let options = LoadOptions::new(vec!["/p/stack.yaml".into()], "/p".into());
    let loaded = load(&source, &options);
    loaded
        .project
        .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

#[test]
fn every_attribute_is_read() {
    let project = project(
        r#"
name: shop
services:
  web:
    build: {context: ./web, dockerfile: Dev.Dockerfile}
    image: web
    develop:
      watch:
        - {path: ./src, action: sync, target: /app, ignore: [node_modules/], include: "*.js", initial_sync: true}
        - path: ./conf
          action: sync+exec
          target: /etc/app
          exec: {command: [reload, now], user: app, working_dir: /etc, privileged: true, environment: {A: b, N: 1}}
        - {path: package.json, action: rebuild}
"#,
    );
    let rules = project.watch_rules();
    assert_eq!(rules.len(), 3);
    assert_eq!(rules[0].path, std::path::Path::new("/p/src"));
    assert_eq!(rules[0].target.as_deref(), Some("/app"));
    assert_eq!(rules[0].ignore, ["node_modules/"]);
    assert_eq!(rules[0].include, ["*.js"]);
    assert!(rules[0].initial_sync && rules[0].action.copies());
    assert_eq!(rules[1].action, WatchAction::SyncExec);
    let exec = rules[1].exec.as_ref().unwrap();
    assert_eq!(exec.command, ["reload", "now"]);
    assert_eq!(exec.user.as_deref(), Some("app"));
    assert_eq!(exec.working_dir.as_deref(), Some("/etc"));
    assert!(exec.privileged);
    assert_eq!(exec.environment, ["A=b", "N=1"]);
    assert_eq!(rules[2].action, WatchAction::Rebuild);
    assert!(!rules[2].action.copies());
    assert_eq!(
        project.build_context("web"),
        Some(("/p/web".into(), "Dev.Dockerfile".to_owned()))
    );
}

#[test]
fn a_command_that_is_to_run_is_named() {
    let text = "name: shop\nservices:\n  web:\n    image: web\n    develop: {watch: \
                [{path: ./src, target: /app, action: sync+exec}]}\n";
    let source = MemorySource::new().with("/p/stack.yaml", text);
    let options = LoadOptions::new(vec!["/p/stack.yaml".into()], "/p".into());
    let loaded = load(&source, &options);
    assert_eq!(
        loaded.diagnostics[0].message,
        "a watch rule of `web` with the action `sync+exec` needs an `exec`"
    );
}
