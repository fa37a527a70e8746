//! The model with parts of the work left out, as `config --no-…` prints it.

use std::path::PathBuf;

use stack_planner::{LoadOptions, MemorySource, load};

fn yaml(text: &str, change: impl FnOnce(&mut LoadOptions)) -> String {
    let source = MemorySource::new().with("/shop/stack.yaml", text);
    let mut options = LoadOptions::new(vec!["/shop/stack.yaml".into()], PathBuf::from("/shop"));
    options
        .environment
        .insert("MODE".to_owned(), "x".to_owned());
    change(&mut options);
    let loaded = load(&source, &options);
    let Some(project) = loaded.project else {
        panic!("{:#?}", loaded.diagnostics)
    };
    project.to_yaml()
}

const TEXT: &str = "\
name: ${NAME:-Shop}
volumes: {data: }
services:
  web:
    image: web:${TAG}
    environment: [MODE, NONE]
    volumes: ['data:/d']
";

#[test]
fn without_normalization() {
    let wanted = "\
name: shop
services:
  web:
    environment:
      MODE: x
      NONE: null
    image: 'web:'
    volumes:
      - type: volume
        source: data
        target: /d
        volume: {}
volumes:
  data: {}
";
    assert_eq!(yaml(TEXT, |options| options.normalize = false), wanted);
}

#[test]
fn without_interpolation_everything_is_sorted_and_as_written() {
    let text = yaml(TEXT, |options| {
        options.interpolate = false;
        options.normalize = false;
    });
    let wanted = "\
name: ${NAME:-Shop}
services:
  web:
    environment:
      - MODE
      - NONE
    image: web:${TAG}
    volumes:
      - source: data
        target: /d
        type: volume
        volume: {}
volumes:
  data: null
";
    assert_eq!(text, wanted);
    let text = yaml("models: {m: {model: x}}\n", |options| {
        options.interpolate = false
    });
    assert_eq!(text, "models:\n  m:\n    model: x\nname: shop\n");
}

#[test]
fn texts_like_numbers_in_base_60_are_quoted() {
    let text = "services: {a: {image: a, labels: {a: '22:22', b: '1:60', c: '-1:30.5', \
                d: '02:42:72', e: '_1:20', f: '1:2:'}}}\n";
    let text = yaml(text, |_| {});
    for line in [
        "a: \"22:22\"",
        "b: 1:60",
        "c: \"-1:30.5\"",
        "d: 02:42:72",
        "e: _1:20",
        "f: '1:2:'",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn paths_that_stay_relative_are_read_from_their_folder_all_the_same() {
    let source = MemorySource::new()
        .with(
            "/shop/stack.yaml",
            "include: [inc/stack.yaml]\nservices:\n  web: {image: web, env_file: w.env, build: .}\n",
        )
        .with("/shop/w.env", "W=1\n")
        .with(
            "/shop/inc/stack.yaml",
            "services:\n  help: {image: help, env_file: h.env, build: .}\n",
        )
        .with("/shop/inc/h.env", "H=1\n");
    let mut options = LoadOptions::new(vec!["/shop/stack.yaml".into()], PathBuf::from("/shop"));
    options.resolve_paths = false;
    let loaded = load(&source, &options);
    let Some(project) = loaded.project else {
        panic!("{:#?}", loaded.diagnostics)
    };
    let text = project.to_yaml();
    for wanted in [
        "W: \"1\"",
        "H: \"1\"",
        "context: .\n",
        "context: /shop/inc\n",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
}
