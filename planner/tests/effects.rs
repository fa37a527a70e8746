//! What has no effect here, or only where it fits, is never passed over in silence.

use stack_planner::diagnostic::codes;
use stack_planner::{LoadOptions, MemorySource, load};

/// Codes of what is found, the mistakes of the runtime's part included.
fn found(text: &str) -> Vec<&'static str> {
    let source = MemorySource::new().with("/app/compose.yaml", text);
    let options = LoadOptions::new(vec!["/app/compose.yaml".into()], "/app".into());
    let loaded = load(&source, &options);
    let project = loaded.project.as_ref();
    let errors = project.and_then(|project| project.spec().err());
    let all = loaded.diagnostics.iter().chain(errors.iter().flatten());
    all.map(|found| found.code).collect()
}

fn service(attributes: &str) -> Vec<&'static str> {
    found(&format!("services: {{a: {{image: i, {attributes}}}}}"))
}

fn mount(attributes: &str) -> Vec<&'static str> {
    service(&format!("volumes: [{{target: /x, {attributes}}}]"))
}

#[test]
fn devices_are_the_guests() {
    let refused = [codes::UNSUPPORTED];
    for source in ["/dev", "/dev/", "/dev/bus/usb", "/dev/dri"] {
        assert_eq!(mount(&format!("type: bind, source: {source}")), refused);
    }
    for source in ["/dev/shm", "/dev/log", "/devices", "./dev"] {
        assert!(mount(&format!("type: bind, source: {source}")).is_empty());
    }
    assert!(service("devices: [/dev/kmsg]").is_empty());
    assert_eq!(
        service("devices: ['/dev/fuse:/dev/fuse:r']"),
        [codes::IGNORED]
    );
    assert_eq!(service("devices: [/dev/sda]"), refused);
}

#[test]
fn mounts_are_of_one_type() {
    let ignored = [codes::IGNORED];
    assert_eq!(mount("type: bind"), [codes::MISSING_KEY]);
    assert_eq!(
        mount("type: bind, source: ., volume: {nocopy: true}"),
        ignored
    );
    assert_eq!(
        mount("type: tmpfs, bind: {create_host_path: true}"),
        ignored
    );
    assert!(mount("type: tmpfs, tmpfs: {size: 1m}").is_empty());
    // Once is enough.
    let labelled = "services: {a: {image: i, volumes: ['data:/x:z']}}\nvolumes: {data: {}}";
    assert_eq!(found(labelled), ignored);
    assert_eq!(mount("type: volume, volume: {labels: {a: b}}"), ignored);
    assert_eq!(mount("type: volume, volume: {subpath: a}"), ignored);
    assert!(mount("type: volume, volume: {nocopy: true}").is_empty());
    let volume = |options: &str| {
        found(&format!(
            "services: {{a: {{image: i, volumes: ['vol:/v']}}}}\n\
             volumes: {{vol: {{driver_opts: {{{options}}}}}}}"
        ))
    };
    assert!(volume("type: bind, o: bind, device: /srv").is_empty());
    assert!(volume("type: ext4, o: 'rbind,ro', device: /srv").is_empty());
    let refused = volume("type: ext4, device: /dev/sda");
    assert!(refused.contains(&codes::UNSUPPORTED), "{refused:?}");
}

#[test]
fn processors_are_said_once() {
    assert_eq!(service("cpus: 2, cpu_quota: 50000"), [codes::INCONSISTENT]);
    assert!(service("cpus: 2, cpu_quota: 0").is_empty());
    assert!(service("cpu_quota: 50000, cpu_period: 100000").is_empty());
}

#[test]
fn programs_for_another_processor_are_told() {
    let own = match cfg!(target_arch = "aarch64") {
        true => [
            "linux/arm64",
            "linux/aarch64",
            "linux/arm64/v8",
            "linux/arm/v7",
        ],
        false => ["linux/amd64", "linux/x86_64", "linux/amd64/v2", "linux/386"],
    };
    let alone = [own[0], own[1]].map(|name| name.replace("linux/", "").to_uppercase());
    for platform in own.iter().copied().chain(alone.iter().map(String::as_str)) {
        assert!(
            service(&format!("platform: {platform}")).is_empty(),
            "{platform}"
        );
    }
    assert_eq!(service("platform: linux/s390x"), [codes::FOREIGN_PLATFORM]);
}

#[test]
fn root_disks_have_sizes_that_a_file_system_can_have() {
    for size in ["1G", "64m", "'1.5 GiB'", "16t", "67108864"] {
        let found = service(&format!("storage_opt: {{size: {size}}}"));
        assert!(found.is_empty(), "{size}: {found:?}");
    }
    for size in ["16m", "17t", "0", "-1", "much", "''", ""] {
        let found = service(&format!("storage_opt: {{size: {size}}}"));
        assert_eq!(found, [codes::UNUSABLE_VALUE], "{size}");
    }
    assert_eq!(service("storage_opt: {o: x}"), [codes::IGNORED]);
    assert!(service("storage_opt: {}").is_empty());
}

#[test]
fn networks_have_what_they_say() {
    let network = |attributes: &str| {
        found(&format!(
            "services: {{a: {{image: i, networks: [n]}}}}\nnetworks: {{n: {{{attributes}}}}}"
        ))
    };
    assert_eq!(network("attachable: true"), [codes::IGNORED]);
    assert!(network("attachable: false").is_empty());
    assert!(network("ipam: {config: [{subnet: 10.9.0.0/30}]}").is_empty());
    assert_eq!(
        network("ipam: {config: [{subnet: 10.9.0.0/31}]}"),
        [codes::UNUSABLE_VALUE]
    );
    assert_eq!(service("dns: resolver"), [codes::UNUSABLE_VALUE]);
    assert!(service("dns: ['9.9.9.9', '2620:fe::fe']").is_empty());
}

#[test]
fn builds_have_the_rights_that_there_are() {
    let build = |right: &str| {
        found(&format!(
            "services: {{a: {{build: {{context: ., entitlements: ['{right}']}}}}}}"
        ))
    };
    assert!(build("security.insecure").is_empty());
    assert_eq!(build("device"), [codes::IGNORED]);
}
