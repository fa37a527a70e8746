//! What `up` makes anew: for another network or volume behind the same key, and
//! because somebody asked for it.

use std::sync::Arc;

use stack_api::container::State;
use stack_api::event::ApiError;
use stack_api::request::{Action, Up, Verb};
use stack_api::spec::{Condition, MountSource, MountSpec, StackSpec, VolumeSpec};
use stack_runtime::progress::Progress;
use stack_runtime::stack;

use crate::locks::{action, soon};
use crate::removal::{ledger, refuse_new_containers};
use crate::world::{World, depends, service};

async fn up(world: &World, request: Up) -> Result<(), ApiError> {
    let (progress, _events) = Progress::new();
    stack::up(Arc::clone(&world.daemon), request, progress).await
}

fn mounting(world: &World, source: MountSource) -> StackSpec {
    let mut db = service("db", &["serve"], &[]);
    db.mounts = vec![MountSpec {
        target: "/data".to_owned(),
        read_only: false,
        source,
    }];
    world.stack(vec![db])
}

fn volumes(world: &World) -> Vec<String> {
    let all = world.daemon.volumes().unwrap().into_iter();
    all.map(|volume| volume.name).collect()
}

#[tokio::test]
async fn another_network_behind_the_same_key_is_joined() {
    let world = World::new().await;
    let mut shop = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    world.create_network("proxy");
    let before = shop.clone();
    let default = shop.networks.get_mut("default").unwrap();
    default.name = "proxy".to_owned();
    default.external = true;
    world.up(&shop).await.unwrap();
    let on = |world: &World| {
        let networks = world.container("web").networks.into_iter();
        networks.map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(on(&world), ["proxy"]);
    assert!(world.plan(&shop).is_empty());
    // There and back: both are there.
    world.up(&before).await.unwrap();
    assert_eq!(on(&world), ["shop_default"]);
    // What was done by hand stays.
    world.connect("proxy", "shop-web-1").await.unwrap();
    world
        .disconnect("shop_default", "shop-web-1")
        .await
        .unwrap();
    assert!(world.plan(&before).is_empty(), "{:?}", world.plan(&before));
}

#[tokio::test]
async fn another_volume_behind_the_same_key_is_mounted() {
    let world = World::new().await;
    let mut shop = mounting(
        &world,
        MountSource::Volume {
            volume: "data".to_owned(),
            nocopy: false,
            subpath: None,
        },
    );
    for (name, mounted) in [("one", "one"), ("two", "two"), ("one", "one")] {
        let volume = VolumeSpec {
            name: name.to_owned(),
            ..VolumeSpec::default()
        };
        shop.volumes.insert("data".to_owned(), volume);
        world.up(&shop).await.unwrap();
        assert_eq!(world.container("db").mounts, [mounted]);
        assert!(world.plan(&shop).is_empty());
    }
    // So does the way back.
    world.rollback(Some(2)).await.unwrap();
    assert_eq!(world.container("db").mounts, ["two"]);
}

#[tokio::test]
async fn nobody_is_left_at_addresses_that_a_network_has_no_more() {
    let world = World::new().await;
    let mut shop = world.stack(vec![
        service("web", &["serve"], &[]),
        service("db", &["serve"], &[]),
    ]);
    world.up(&shop).await.unwrap();
    let default = shop.networks.get_mut("default").unwrap();
    default.subnet = "10.77.0.0/24".parse().ok();
    let one = Up {
        spec: shop.clone(),
        services: vec!["web".to_owned()],
        no_deps: true,
        ..Up::default()
    };
    let error = up(&world, one.clone()).await.unwrap_err();
    assert!(error.message.contains("shop-db-1 runs at"), "{error}");
    assert_eq!(world.started().len(), 2, "nothing was touched");
    // One that does not run is nobody's concern, and made anew when its turn comes.
    let stop = Action {
        services: vec!["db".to_owned()],
        ..action(Verb::Stop)
    };
    world.act(stop).await.unwrap();
    up(&world, one).await.unwrap();
    let plan = world.plan(&shop);
    assert!(
        plan[0].contains("recreate container shop-db-1: network default changes"),
        "{plan:?}"
    );
    world.up(&shop).await.unwrap();
    for container in world.containers() {
        let address = container.networks[0].1.to_string();
        assert!(address.starts_with("10.77.0."), "{address}");
    }
}

#[tokio::test]
async fn fresh_volumes_are_made_on_demand_and_old_ones_kept_until_then() {
    let world = World::new().await;
    let shop = mounting(&world, MountSource::Anonymous { nocopy: false });
    world.up(&shop).await.unwrap();
    let first = volumes(&world);
    let renewed = |spec: &StackSpec| Up {
        spec: spec.clone(),
        renew_anon_volumes: true,
        ..Up::default()
    };
    up(&world, renewed(&shop)).await.unwrap();
    let second = volumes(&world);
    assert_eq!(second.len(), 1);
    assert_ne!(second, first);
    // The new container does not come about: the next one has the data.
    refuse_new_containers(&world);
    up(&world, renewed(&shop)).await.unwrap_err();
    assert!(world.containers().is_empty());
    ledger(&world, "DROP TRIGGER refuse");
    world.up(&shop).await.unwrap();
    assert_eq!(world.container("db").mounts, second);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_scaled() {
    let world = World::new().await;
    let request = Up {
        spec: world.stack(vec![service("web", &["serve"], &[])]),
        scale: [("nope".to_owned(), 3)].into(),
        ..Up::default()
    };
    let error = up(&world, request).await.unwrap_err();
    assert_eq!(error.message, "no such service: nope");
    assert!(world.containers().is_empty());
}

#[tokio::test]
async fn a_dependency_that_fails_is_told_before_another_is_healthy() {
    let world = World::new().await;
    let mut slow = service("a", &["serve"], &[]);
    slow.healthcheck = Some(stack_api::spec::HealthCheckSpec {
        test: Some(vec!["CMD".to_owned(), "true".to_owned()]),
        interval_ms: Some(3_600_000),
        ..Default::default()
    });
    let needs = [
        depends("a", Condition::ServiceHealthy),
        depends("b", Condition::ServiceCompletedSuccessfully),
    ];
    let shop = world.stack(vec![
        slow,
        service("b", &["exit", "1"], &[]),
        service("web", &["serve"], &needs),
    ]);
    let error = soon(world.up(&shop)).await.unwrap_err();
    assert!(
        error.message.contains("shop-b-1 did not complete"),
        "{error}"
    );
    assert_eq!(world.container("a").state, State::Running);
}
