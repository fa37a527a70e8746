//! Names and addresses that go from one container to another in one `up`, and what is
//! refused before anything stops.

use std::net::Ipv4Addr;

use stack_api::container::State;
use stack_api::event::ApiError;
use stack_api::rollout::{Order, Rollout};
use stack_api::spec::{MountSource, MountSpec, NetworkSpec, ServiceSpec, StackSpec, VolumeSpec};

use crate::world::{World, service};

/// Changes a service as the loader does it: with another hash.
fn change(stack: &mut StackSpec, name: &str, change: impl FnOnce(&mut ServiceSpec)) {
    let service = stack.services.get_mut(name).unwrap();
    change(service);
    service.config_hash.push('+');
}

fn mount(source: MountSource) -> MountSpec {
    MountSpec {
        target: "/data".to_owned(),
        read_only: false,
        source,
    }
}

fn address(spec: &mut ServiceSpec, last: u8) {
    let place = spec.networks.get_mut("default").unwrap();
    place.ipv4 = Some(Ipv4Addr::new(10, 7, 0, last));
}

/// A stack of these services, whose network has this subnet.
fn on(world: &World, subnet: &str, services: Vec<ServiceSpec>) -> StackSpec {
    let mut shop = world.stack(services);
    let network = shop.networks.get_mut("default").unwrap();
    network.subnet = subnet.parse().ok();
    shop
}

/// The error of an `up` that changes nothing.
async fn refused(world: &World, shop: &StackSpec) -> ApiError {
    let before = world.containers();
    let error = world.up(shop).await.unwrap_err();
    let after = world.containers();
    let boots = |containers: &[stack_api::container::Container]| -> Vec<_> {
        let all = containers.iter();
        all.map(|c| (c.id.clone(), c.boot_id.clone(), c.state))
            .collect()
    };
    assert_eq!(boots(&before), boots(&after), "{error}");
    error
}

#[tokio::test]
async fn services_swap_names_and_addresses() {
    let world = World::new().await;
    let mut shop = on(
        &world,
        "10.7.0.0/24",
        vec![service("a", &["serve"], &[]), service("b", &["serve"], &[])],
    );
    for (name, last) in [("a", 5), ("b", 6)] {
        change(&mut shop, name, |spec| {
            spec.container_name = Some(format!("the-{name}"));
            spec.mounts = vec![mount(MountSource::Anonymous { nocopy: false })];
            address(spec, last);
        });
    }
    world.up(&shop).await.unwrap();
    let volume = |service: &str| world.record(service).blueprint.anonymous[0].1.clone();
    let volumes = [volume("a"), volume("b")];
    for (name, other, last) in [("a", "b", 6), ("b", "a", 5)] {
        change(&mut shop, name, |spec| {
            spec.container_name = Some(format!("the-{other}"));
            address(spec, last);
        });
    }
    world.up(&shop).await.unwrap();
    for (service, name, last) in [("a", "the-b", 6), ("b", "the-a", 5)] {
        let record = world.record(service);
        assert_eq!(record.container.name, name);
        assert_eq!(record.container.state, State::Running);
        assert_eq!(record.nics[0].ipv4, Some(Ipv4Addr::new(10, 7, 0, last)));
    }
    assert_eq!(volumes, [volume("a"), volume("b")]);
    assert!(world.plan(&shop).is_empty());
}

#[tokio::test]
async fn names_are_not_swapped_by_services_that_run_on() {
    let world = World::new().await;
    let services = ["a", "b"].map(|name| service(name, &["serve"], &[]));
    let mut shop = world.stack(services.to_vec());
    let named = |shop: &mut StackSpec, names: [(&str, &str); 2]| {
        for (service, name) in names {
            change(shop, service, |spec| {
                spec.container_name = Some(name.to_owned());
                spec.update = Some(Rollout {
                    order: Order::StartFirst,
                    ..Rollout::default()
                });
            });
        }
    };
    named(&mut shop, [("a", "x"), ("b", "y")]);
    world.up(&shop).await.unwrap();
    named(&mut shop, [("a", "y"), ("b", "x")]);
    let error = refused(&world, &shop).await;
    assert_eq!(error.code, "name_in_use");
    assert!(error.help.unwrap().contains("gives it up too late"));
}

#[tokio::test]
async fn an_address_of_one_that_leaves_as_it_runs_is_for_another() {
    let world = World::new().await;
    let mut shop = on(
        &world,
        "10.7.0.0/24",
        vec![service("a", &["serve"], &[]), service("b", &["serve"], &[])],
    );
    let far = NetworkSpec {
        name: "shop_far".to_owned(),
        ..NetworkSpec::default()
    };
    shop.networks.insert("far".to_owned(), far);
    change(&mut shop, "a", |a| {
        address(a, 5);
        a.networks.insert("far".to_owned(), Default::default());
    });
    world.up(&shop).await.unwrap();
    let boot = world.container("a").boot_id;
    change(&mut shop, "a", |a| drop(a.networks.remove("default")));
    change(&mut shop, "b", |b| address(b, 5));
    world.up(&shop).await.unwrap();
    assert_eq!(world.container("a").boot_id, boot);
    let five = Some(Ipv4Addr::new(10, 7, 0, 5));
    assert_eq!(world.record("b").nics[0].ipv4, five);
    // Its card is there still; its address is not.
    world.connect("shop_default", "shop-a-1").await.unwrap();
    let record = world.record("a");
    let mut nics = record.nics.iter();
    let back = nics.find(|nic| nic.network == "shop_default" && !nic.unplugged);
    assert_ne!(back.unwrap().ipv4, five);
}

#[tokio::test]
async fn more_containers_than_addresses() {
    let world = World::new().await;
    // Four besides the router's.
    let mut shop = on(&world, "10.7.0.0/29", vec![service("web", &["serve"], &[])]);
    shop.services.get_mut("web").unwrap().replicas = 6;
    let error = refused(&world, &shop).await;
    assert_eq!(error.code, "network_full");
    assert!(world.daemon.all_networks().unwrap().is_empty());
    shop.services.get_mut("web").unwrap().replicas = 4;
    world.up(&shop).await.unwrap();
    // Two that want the last one, and one that would be made anew.
    for name in ["db", "cache"] {
        let new = service(name, &["serve"], &[]);
        shop.services.insert(name.to_owned(), new);
    }
    change(&mut shop, "web", |web| web.user = Some("www".to_owned()));
    let error = refused(&world, &shop).await;
    assert_eq!(error.code, "network_full");
    shop.services.remove("cache");
    world.up(&shop).await.unwrap();
    assert!(world.plan(&shop).is_empty());
}

#[tokio::test]
async fn an_orphan_has_the_name() {
    let world = World::new().await;
    let mut db = service("db", &["serve"], &[]);
    db.container_name = Some("database".to_owned());
    let source = MountSource::Volume {
        volume: "data".to_owned(),
        nocopy: false,
        subpath: None,
    };
    db.mounts = vec![mount(source)];
    let mut shop = world.stack(vec![db]);
    let data = VolumeSpec {
        name: "shop_data".to_owned(),
        ..VolumeSpec::default()
    };
    shop.volumes.insert("data".to_owned(), data);
    world.up(&shop).await.unwrap();
    let mut postgres = shop.services.remove("db").unwrap();
    postgres.name = "postgres".to_owned();
    shop.services.insert("postgres".to_owned(), postgres);
    let error = refused(&world, &shop).await;
    assert_eq!(error.code, "name_in_use");
    assert!(error.help.unwrap().contains("--remove-orphans"));
    // Nor is its volume made one for two.
    let disk = &world.daemon.volumes().unwrap()[0].path;
    assert!(disk.ends_with("shop_data.ext4"), "{}", disk.display());
}
