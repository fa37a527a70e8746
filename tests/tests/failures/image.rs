//! Images that cannot be had.

use stack_tests::{Fault, FaultyRegistry, Finished, Home, eventually, free_port};

use crate::one_service;

const IMAGE: Option<i32> = Some(18);

fn up(home: &Home, image: &str) -> Finished {
    let project = home.project("image", &one_service(image));
    let failed = project.stack(&["up", "-d"]).fails().says(image);
    assert_eq!(failed.code, IMAGE, "{failed}");
    assert!(home.vms().is_empty());
    assert!(
        project.containers().is_empty(),
        "{:?}",
        project.containers()
    );
    failed
}

#[test]
fn the_image_does_not_exist() {
    let home = Home::new();
    up(&home, "there-is-no-such-image:7").says("not");
}

#[test]
fn the_registry_is_down() {
    let home = Home::new();
    let image = format!("127.0.0.1:{}/library/busybox:1", free_port());
    up(&home, &image).says("reach");
}

#[test]
fn the_registry_wants_a_password() {
    let home = Home::new();
    let registry = FaultyRegistry::new(Fault::Password);
    let image = registry.image("busybox:1");
    up(&home, &image);

    // With the password in Docker's configuration it goes.
    let config = home.dir().join("docker");
    std::fs::create_dir_all(&config).unwrap();
    let auths = format!(
        r#"{{"auths":{{"{}":{{"auth":"dXNlcjpwYXNz"}}}}}}"#,
        registry.host()
    );
    std::fs::write(config.join("config.json"), auths).unwrap();
    home.project("image", &one_service(&image))
        .stack(&["up", "-d", "--wait"])
        .ok();
}

#[test]
fn the_content_is_not_what_its_digest_says() {
    let home = Home::new();
    let registry = FaultyRegistry::new(Fault::Corrupt);
    let image = registry.image("busybox:1");
    up(&home, &image).says("digest");

    // Nothing of it was kept: once the registry is mended it works.
    registry.set(Fault::None);
    home.project("image", &one_service(&image))
        .stack(&["up", "-d", "--wait"])
        .ok();
}

#[test]
fn ctrl_c_during_a_pull() {
    let home = Home::new();
    let registry = FaultyRegistry::new(Fault::Stall);
    let project = home.project("pull", &one_service(&registry.image("busybox:1")));
    let up = project.begin(&["up", "-d"]);
    eventually("a layer on its way", 30, || {
        (registry.stalled() > 0).then_some(())
    });
    up.interrupt();
    let ended = up.finish(10);
    assert_eq!(ended.code, Some(130), "{ended}");
    assert!(project.containers().is_empty());
    assert!(home.vms().is_empty());

    registry.set(Fault::None);
    project.stack(&["up", "-d", "--wait"]).ok();
}
