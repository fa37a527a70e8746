//! How services are built.

use std::path::PathBuf;

use stack_planner::{LoadOptions, MemorySource, load};

fn loaded(text: &str) -> stack_planner::Loaded {
    let source = MemorySource::new().with("/app/compose.yaml", text);
    let files = vec![PathBuf::from("/app/compose.yaml")];
    load(&source, &LoadOptions::new(files, "/app".into()))
}

#[test]
fn what_others_are_built_from_may_be_of_another_profile() {
    let text = "name: shop\nservices:\n  \
        a: {build: {additional_contexts: {x: 'service:b'}}}\n  \
        b: {build: {additional_contexts: {x: 'service:c'}}, profiles: [p]}\n  \
        c: {build: ./c, profiles: [p]}\n  d: {build: ., profiles: [p]}\n";
    let project = loaded(text).project.expect("it is right");
    let builds = project.builds();
    assert_eq!(Vec::from_iter(builds.keys()), ["a", "b", "c"]);
    assert_eq!(builds["c"].context, "/app/c");
}

#[test]
fn an_image_that_another_service_builds_is_not_pinned() {
    let text = "name: shop\nservices:\n  a: {build: ., image: app, profiles: [p]}\n  \
        b: {image: app}\n  c: {image: other}\n";
    let project = loaded(text).project.expect("it is right");
    assert_eq!(
        Vec::from_iter(project.pinnable_images().into_keys()),
        ["other"]
    );
}

#[test]
fn the_platform_of_a_service_is_that_of_its_build() {
    let errors = |service: &str| {
        let text = format!("name: shop\nservices: {{a: {{build: ., {service}}}}}\n");
        let project = loaded(&text).project.expect("it is right");
        project.spec().err().map_or(0, |errors| errors.len())
    };
    let own = format!("linux/{}", std::env::consts::ARCH);
    assert_eq!(errors(&format!("platform: {own}")), 0);
    assert_eq!(errors("platform: linux/riscv64"), 1);
}

#[test]
fn keys_are_the_agents_unless_they_have_a_file() {
    for ssh in ["[default, key=./id]", "{default: , key: ./id}"] {
        let text = format!("name: shop\nservices: {{a: {{build: {{ssh: {ssh}}}}}}}\n");
        let source = MemorySource::new().with("/app/compose.yaml", text);
        let files = vec![PathBuf::from("/app/compose.yaml")];
        let loaded = load(&source, &LoadOptions::new(files, "/app".into()));
        let project = loaded.project.expect("it is right");
        let keys = project.builds()["a"].ssh.clone();
        let expected = [("default", ""), ("key", "/app/id")];
        let expected = expected.map(|(id, path)| (id.to_owned(), path.to_owned()));
        assert_eq!(keys, expected.into(), "{ssh}");
    }
}
