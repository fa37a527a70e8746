//! Services that were named, and what is wrong with others.

use std::path::PathBuf;

use stack_planner::diagnostic::codes;
use stack_planner::{LoadOptions, Loaded, MemorySource, load};

/// A stack in which `logs` asks for what no machine can have, and `worker` lacks a file.
const STACK: &str = "\
services:
  web:
    image: web
    build: .
    env_file: web.env
    depends_on: [db]
  db: {image: db, volumes: ['data:/data']}
  worker: {image: worker, env_file: gone.env, networks: [back]}
  logs:
    image: logs
    volumes: ['/var/run/docker.sock:/s', 'data:/data', 'own:/own']
  job: {image: job, profiles: [jobs]}
volumes: {data: , own: }
networks: {back: }
";

fn loaded(text: &str, names: &[&str], resolve_environment: bool) -> Loaded {
    let source = MemorySource::new()
        .with("/app/compose.yaml", text)
        .with("/app/web.env", "A=1");
    let options = LoadOptions {
        services: names.iter().map(|name| (*name).to_owned()).collect(),
        resolve_environment,
        ..LoadOptions::new(vec!["/app/compose.yaml".into()], PathBuf::from("/app"))
    };
    load(&source, &options)
}

fn errors(loaded: &Loaded) -> Vec<&'static str> {
    let all = loaded.all_diagnostics().into_iter();
    all.filter(|found| found.is_error())
        .map(|found| found.code)
        .collect()
}

#[test]
fn what_is_wrong_with_others_is_no_error() {
    let loaded = loaded(STACK, &["web"], true);
    assert_eq!(errors(&loaded), [""; 0]);
    let spec = loaded.project.unwrap().spec().unwrap();
    assert_eq!(spec.services.keys().collect::<Vec<_>>(), ["db", "web"]);
    assert_eq!(spec.services["web"].environment["A"], "1");
    assert_eq!(spec.unresolved, ["logs", "worker"]);
    assert_eq!(spec.disabled, ["job"]);
    // Nothing is made for who is not there.
    assert_eq!(spec.networks.keys().collect::<Vec<_>>(), ["default"]);
    assert_eq!(spec.volumes.keys().collect::<Vec<_>>(), ["data"]);
}

#[test]
fn what_is_wrong_with_those_that_were_asked_for_is_one() {
    let [file, unsupported] = [codes::ENV_FILE, codes::UNSUPPORTED];
    assert_eq!(errors(&loaded(STACK, &[], true)), [file, unsupported]);
    assert_eq!(errors(&loaded(STACK, &["worker", "web"], true)), [file]);
    assert_eq!(errors(&loaded(STACK, &["logs"], true)), [unsupported]);
    let needed = STACK.replace("depends_on: [db]", "depends_on: [logs]");
    assert_eq!(errors(&loaded(&needed, &["web"], true)), [unsupported]);
    let needed = STACK.replace("depends_on: [db]", "depends_on: [worker]");
    assert_eq!(errors(&loaded(&needed, &["web"], true)), [file]);
}

#[test]
fn others_that_are_well_are_there_in_full() {
    let well = STACK
        .replace("gone.env", "web.env")
        .replace("/var/run/docker.sock", "/srv");
    let spec = |names: &[&str]| {
        let project = loaded(&well, names, true).project.unwrap();
        project.spec().unwrap()
    };
    assert_eq!(spec(&["web"]), spec(&[]));
    assert_eq!(spec(&[]).services["worker"].environment["A"], "1");
}

#[test]
fn images_alone_need_neither_files_nor_mounts() {
    for names in [&[][..], &["web", "worker", "logs"]] {
        let project = loaded(STACK, names, false).project.unwrap();
        let outline = project.outline().unwrap();
        let images = outline.services.values().map(|s| s.image.as_str());
        assert_eq!(images.collect::<Vec<_>>(), ["db", "logs", "web", "worker"]);
        assert!(outline.services["web"].depends_on.contains_key("db"));
        assert_eq!(project.builds()["web"].context, "/app");
    }
}
