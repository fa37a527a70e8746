//! Containers of `run` beside their service, and the volume that both mount.

use std::sync::Arc;
use std::time::Duration;

use stack_api::container::State;
use stack_api::event::ApiError;
use stack_api::run::Run;
use stack_api::spec::{MountSource, MountSpec, ServiceSpec, StackSpec, VolumeSpec};
use stack_runtime::container::Handle;
use stack_runtime::progress::Progress;
use stack_runtime::stack;

use crate::world::{World, service};

/// What a container mounts its volume as.
#[derive(Debug, PartialEq, Eq)]
enum Has {
    Disk,
    Files,
}
use Has::{Disk, Files};

fn mounting(name: &str, command: &[&str]) -> ServiceSpec {
    let mut service = service(name, command, &[]);
    service.mounts.push(MountSpec {
        target: "/data".to_owned(),
        source: MountSource::Volume {
            volume: "data".to_owned(),
            nocopy: false,
            subpath: None,
        },
        read_only: false,
    });
    service
}

fn with_volume(mut stack: StackSpec, external: bool) -> StackSpec {
    let volume = VolumeSpec {
        name: "shop_data".to_owned(),
        external,
        ..VolumeSpec::default()
    };
    stack.volumes.insert("data".to_owned(), volume);
    stack
}

fn shop(world: &World) -> StackSpec {
    with_volume(world.stack(vec![mounting("web", &["serve"])]), false)
}

/// Another stack that mounts the first one's volume.
fn other(world: &World) -> StackSpec {
    let mut other = with_volume(world.stack(vec![mounting("copy", &["serve"])]), true);
    other.name = "other".to_owned();
    if let Some(network) = other.networks.get_mut("default") {
        network.name = "other_default".to_owned();
    }
    other
}

async fn run(world: &World, shop: &StackSpec, name: &str, detach: bool) -> Result<(), ApiError> {
    let mut service = shop.services["web"].clone();
    service.command = Some(vec!["serve".to_owned()]);
    let request = Run {
        spec: shop.clone(),
        service,
        name: name.to_owned(),
        no_deps: true,
        detach,
        ..Run::default()
    };
    let (progress, _events) = Progress::new();
    stack::run(Arc::clone(&world.daemon), request, progress).await?;
    named(world, name).start();
    until(world, name, State::Running).await;
    Ok(())
}

fn named(world: &World, name: &str) -> Arc<Handle> {
    let mut handles = world.daemon.handles(None).into_iter();
    handles.find(|h| h.container().name == name).unwrap()
}

async fn until(world: &World, name: &str, state: State) {
    let mut changes = named(world, name).changes();
    let there = changes.wait_for(|record| record.container.state == state);
    let waited = tokio::time::timeout(Duration::from_secs(10), there).await;
    assert!(waited.is_ok(), "{name} is not {state:?}");
}

fn has(world: &World, name: &str) -> Has {
    let blueprint = named(world, name).record().blueprint;
    let mut disks = blueprint.disks;
    disks.retain(|disk| disk.serial.starts_with("vol"));
    match (disks.len(), blueprint.files.len()) {
        (1, 0) => Disk,
        (0, 1) => Files,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_beside_a_running_service_shares_its_volume() {
    let world = World::new().await;
    let shop = shop(&world);
    world.up(&shop).await.unwrap();
    let before = world.container("web");
    assert_eq!(has(&world, "shop-web-1"), Disk);
    run(&world, &shop, "job", false).await.unwrap();
    let after = named(&world, "shop-web-1").container();
    assert_eq!((&after.id, after.state), (&before.id, State::Running));
    assert_ne!(after.boot_id, before.boot_id, "it was stopped for the copy");
    assert_eq!(has(&world, "shop-web-1"), Files);
    assert_eq!(has(&world, "job"), Files);
    assert!(world.plan(&shop).is_empty(), "{:?}", world.plan(&shop));
    // The next one costs nothing.
    run(&world, &shop, "next", false).await.unwrap();
    assert_eq!(
        named(&world, "shop-web-1").container().boot_id,
        after.boot_id
    );
}

#[tokio::test]
async fn a_service_comes_beside_a_command_in_the_background() {
    let world = World::new().await;
    let shop = shop(&world);
    run(&world, &shop, "job", true).await.unwrap();
    let before = named(&world, "job").container();
    assert_eq!(has(&world, "job"), Files);
    world.up(&shop).await.unwrap();
    assert_eq!(has(&world, "shop-web-1"), Files);
    assert_eq!(named(&world, "job").container(), before);
    // A disk that is there already, and that nobody uses, is made one for all.
    let world = World::new().await;
    let shop = self::shop(&world);
    world.up(&shop).await.unwrap();
    named(&world, "shop-web-1").stop(Some(0));
    named(&world, "shop-web-1").stopped().await;
    run(&world, &shop, "job", true).await.unwrap();
    assert_eq!(has(&world, "job"), Files);
    world.up(&shop).await.unwrap();
    assert_eq!(has(&world, "shop-web-1"), Files);
}

#[tokio::test]
async fn a_service_waits_for_the_command_that_has_its_disk() {
    let world = World::new().await;
    let shop = shop(&world);
    run(&world, &shop, "job", false).await.unwrap();
    assert_eq!(has(&world, "job"), Disk);
    let up = world.up(&shop);
    tokio::pin!(up);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut up).await;
    assert!(early.is_err(), "it did not wait: {early:?}");
    assert_eq!(named(&world, "job").container().state, State::Running);
    named(&world, "job").stop(Some(0));
    up.await.unwrap();
    assert_eq!(has(&world, "shop-web-1"), Disk);
}

#[tokio::test]
async fn another_stack_stops_whoever_has_the_volume_only_for_the_copy() {
    let world = World::new().await;
    let (shop, other) = (shop(&world), other(&world));
    world.up(&shop).await.unwrap();
    // A copy that fails leaves all as it was.
    world.fake().fail_next_start("no such machine");
    let error = world.up(&other).await.unwrap_err();
    assert!(error.message.contains("no such machine"), "{error}");
    until(&world, "shop-web-1", State::Running).await;
    assert_eq!(has(&world, "shop-web-1"), Disk);
    // An operation of the first stack is waited for.
    let turn = world.daemon.operation("shop");
    let busy = turn.lock().await;
    let up = world.up(&other);
    tokio::pin!(up);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut up).await;
    assert!(early.is_err(), "it did not wait: {early:?}");
    assert_eq!(world.container("web").state, State::Running);
    drop(busy);
    up.await.unwrap();
    until(&world, "shop-web-1", State::Running).await;
    until(&world, "other-copy-1", State::Running).await;
    assert_eq!(has(&world, "shop-web-1"), Files);
    assert_eq!(has(&world, "other-copy-1"), Files);
    assert!(named(&world, "shop-web-1").record().wanted);
}

/// As many as are asked for share the volume, whatever the file says.
#[tokio::test]
async fn what_is_scaled_shares_its_volume() {
    let world = World::new().await;
    let shop = shop(&world);
    let scaled = async |count| {
        let request = stack_api::request::Up {
            spec: shop.clone(),
            scale: [("web".to_owned(), count)].into(),
            ..Default::default()
        };
        let (progress, _events) = Progress::new();
        stack::up(Arc::clone(&world.daemon), request, progress).await
    };
    scaled(1).await.unwrap();
    assert_eq!(has(&world, "shop-web-1"), Disk);
    scaled(2).await.unwrap();
    assert_eq!(has(&world, "shop-web-1"), Files);
    assert_eq!(has(&world, "shop-web-2"), Files);
}

#[tokio::test]
async fn networks_of_others_are_used_and_external_ones_must_be_there() {
    let world = World::new().await;
    let shop = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    let mut other = shop.clone();
    other.name = "other".to_owned();
    run(&world, &other, "other-web-run-1", true).await.unwrap();
    let network = other.networks.get_mut("default").unwrap();
    network.external = true;
    network.name = "none".to_owned();
    let error = run(&world, &other, "other-web-run-2", true).await;
    assert_eq!(error.unwrap_err().code, "no_such_network");
}
