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
fn what_only_a_build_needs_stops_nothing_else() {
    let text = "name: shop\nservices:\n  \
        web: {image: r.x/web, build: {context: ., secrets: [npmrc]}}\n  \
        other: {image: r.x/other, build: {context: ., platforms: [linux/s390x]}}\n\
        secrets: {npmrc: {environment: NPM_TOKEN}}\n";
    let loaded = loaded(text);
    assert!(loaded.all_diagnostics().is_empty());
    let project = loaded.project.expect("it is right");
    assert!(project.spec().is_ok());
    let builds = project.builds();
    let why = |service: &str| builds[service].hindrance.clone().unwrap_or_default();
    let web = why("web");
    assert!(
        web.starts_with("compose.yaml:3: the secret `npmrc`"),
        "{web}"
    );
    assert!(web.contains("NPM_TOKEN"), "{web}");
    assert!(why("other").contains("linux/s390x"), "{}", why("other"));
    // Whoever builds it is shown the line.
    let found = project.hindrances(&["web".to_owned()].into());
    let codes: Vec<&str> = found.iter().map(|found| found.code).collect();
    assert_eq!(codes, ["E0702"]);
    assert!(found[0].is_in(std::path::Path::new("/app/compose.yaml")));
}

#[test]
fn secrets_of_a_service_of_another_profile_are_there_when_it_is_built() {
    let text = "name: shop\nservices:\n  \
        a: {build: {additional_contexts: {x: 'service:b'}}}\n  \
        b: {build: {secrets: [token, none]}, profiles: [p]}\n\
        secrets: {token: {environment: TOKEN}, none: {environment: NONE}}\n";
    let source = MemorySource::new().with("/app/compose.yaml", text);
    let mut options = LoadOptions::new(vec![PathBuf::from("/app/compose.yaml")], "/app".into());
    let token = ("TOKEN".to_owned(), "hidden".to_owned());
    options.environment.extend([token]);
    let project = load(&source, &options).project.expect("it is right");
    let build = &project.builds()["b"];
    assert_eq!(build.secrets["token"], b"hidden");
    let why = build.hindrance.as_deref().unwrap_or_default();
    assert!(why.contains("`none` has no content"), "{why}");
    assert_eq!(project.hindrances(&["a".to_owned()].into()).len(), 1);
    // In the stack there is nothing of it.
    assert!(project.model().get("secrets").is_none());
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
        assert!(project.spec().is_ok());
        project.hindrances(&["a".to_owned()].into()).len()
    };
    let own = format!("linux/{}", std::env::consts::ARCH);
    assert_eq!(errors(&format!("platform: {own}")), 0);
    assert_eq!(errors("platform: linux/riscv64"), 1);
}

#[test]
fn one_of_several_platforms_has_to_be_that_of_this_machine() {
    let built = |platforms: &str| {
        let text = format!(
            "name: shop\nservices: {{a: {{build: {{context: ., platforms: [{platforms}]}}}}}}\n"
        );
        let project = loaded(&text).project.expect("it is right");
        let build = project.builds()["a"].clone();
        Some(build).filter(|build| build.hindrance.is_none())
    };
    let own = match std::env::consts::ARCH {
        "aarch64" => "linux/arm64",
        _ => "linux/amd64",
    };
    let several = built(&format!("linux/s390x, {own}")).expect("it is one of them");
    assert_eq!(several.foreign_platforms, ["linux/s390x"]);
    let one = built(own).expect("it is the own one");
    assert!(one.foreign_platforms.is_empty());
    assert!(built("linux/s390x, linux/ppc64le").is_none());
}

#[test]
fn registries_are_asked_again_as_often_as_the_policy_says() {
    use stack_api::spec::PullPolicy;
    let policy = |given: &str| {
        let text = format!("name: shop\nservices: {{a: {{image: a, {given}}}}}\n");
        let loaded = loaded(&text);
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        let spec = loaded.project.expect("it is right").spec();
        spec.map(|spec| spec.services["a"].pull_policy).ok()
    };
    for (given, seconds) in [
        ("pull_policy: daily", 86_400),
        ("pull_policy: weekly", 604_800),
        ("pull_policy: every_12h", 43_200),
        ("pull_policy: every_1d12h", 129_600),
        ("pull_policy: refresh, pull_refresh_after: 1h", 3600),
        ("pull_policy: refresh", 0),
    ] {
        assert_eq!(policy(given), Some(PullPolicy::Every(seconds)), "{given}");
    }
    let text = "name: shop\nservices: {a: {image: a, pull_policy: every_day}}\n";
    let project = loaded(text).project;
    assert!(project.is_none_or(|project| project.spec().is_err()));
}

#[test]
fn services_without_a_platform_have_that_of_the_environment() {
    let text = "name: shop\nservices:\n  a: {image: a}\n  b: {image: b, platform: linux/amd64}\n  \
        c: {build: .}\n";
    let source = MemorySource::new().with("/app/compose.yaml", text);
    let mut options = LoadOptions::new(vec![PathBuf::from("/app/compose.yaml")], "/app".into());
    let default = (
        "DOCKER_DEFAULT_PLATFORM".to_owned(),
        "linux/s390x".to_owned(),
    );
    options.environment.extend([default]);
    let project = load(&source, &options).project.expect("it is right");
    let spec = project.spec().expect("it is right");
    let platform = |name: &str| spec.services[name].platform.as_deref();
    assert_eq!(platform("a"), Some("linux/s390x"));
    assert_eq!(platform("b"), Some("linux/amd64"));
    assert_eq!(platform("c"), None);
    // It is built for this machine, which is said.
    assert_eq!(project.builds()["c"].foreign_platforms, ["linux/s390x"]);
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
