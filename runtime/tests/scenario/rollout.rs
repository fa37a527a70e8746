//! `update_config`, roll-backs and the history.

use stack_api::container::State;
use stack_api::request::Down;
use stack_api::rollout::{FailureAction, Order, Rollout};
use stack_api::spec::{MountSource, MountSpec, PortSpec, StackSpec};

use crate::removal::{ledger, refuse_new_containers};
use crate::world::{World, service};

fn three(world: &World, rollout: Rollout) -> StackSpec {
    let mut web = service("web", &["serve"], &[]);
    web.replicas = 3;
    web.update = Some(rollout);
    world.stack(vec![web])
}

/// Another command, as the loader makes it: with another hash.
fn command(shop: &mut StackSpec, name: &str, words: &[&str]) {
    let service = shop.services.get_mut(name).unwrap();
    service.command = Some(words.iter().map(|word| (*word).to_owned()).collect());
    service.config_hash = words.join(" ");
}

fn hashes(world: &World) -> Vec<String> {
    let containers = world.containers().into_iter();
    containers
        .map(|c| format!("{} {}", c.name, c.config_hash))
        .collect()
}

#[tokio::test]
async fn one_after_another() {
    let world = World::new().await;
    let mut shop = three(&world, Rollout::default());
    world.up(&shop).await.unwrap();
    command(&mut shop, "web", &["serve", "two"]);
    world.up(&shop).await.unwrap();
    let containers = world.containers();
    for pair in containers.windows(2) {
        assert!(pair[0].started_ms <= Some(pair[1].created_ms), "{pair:?}");
    }
    assert!(world.plan(&shop).is_empty());
}

#[tokio::test]
async fn a_failure_pauses_the_update() {
    let world = World::new().await;
    let mut shop = three(&world, Rollout::default());
    world.up(&shop).await.unwrap();
    command(&mut shop, "web", &["missing"]);
    let error = world.up(&shop).await.unwrap_err();
    assert!(
        error.message.contains("executable file not found"),
        "{error}"
    );
    assert_eq!(
        hashes(&world),
        ["shop-web-1 missing", "shop-web-2 first", "shop-web-3 first"]
    );
    assert_eq!(world.containers()[1].state, State::Running);
}

#[tokio::test]
async fn some_may_fail() {
    let world = World::new().await;
    let mut shop = three(
        &world,
        Rollout {
            max_failure_ratio: 0.4,
            ..Rollout::default()
        },
    );
    world.up(&shop).await.unwrap();
    command(&mut shop, "web", &["serve", "two"]);
    world.fake().fail_next_start("no such machine");
    world.up(&shop).await.unwrap();
    let states: Vec<State> = world.containers().iter().map(|c| c.state).collect();
    assert_eq!(states, [State::Dead, State::Running, State::Running]);
    // Two of three are too many.
    command(&mut shop, "web", &["serve", "three"]);
    world.fake().fail_next_start("no such machine");
    world.fake().fail_next_start("no such machine");
    world.up(&shop).await.unwrap_err();
    assert_eq!(hashes(&world)[2], "shop-web-3 serve two");
}

#[tokio::test]
async fn a_failure_takes_the_whole_stack_back() {
    let world = World::new().await;
    let rollout = Rollout {
        failure_action: FailureAction::Rollback,
        monitor_ms: 1500,
        ..Rollout::default()
    };
    let mut shop = three(&world, rollout);
    shop.services
        .insert("api".to_owned(), service("api", &["serve"], &[]));
    let api = [crate::world::depends(
        "api",
        stack_api::spec::Condition::ServiceStarted,
    )];
    shop.services.get_mut("web").unwrap().depends_on = api.into();
    world.up(&shop).await.unwrap();
    let good = hashes(&world);
    let before = shop.clone();
    command(&mut shop, "api", &["serve", "two"]);
    // It comes up, and ends while it is watched.
    command(&mut shop, "web", &["run", "1200", "1"]);
    shop.services
        .insert("extra".to_owned(), service("extra", &["serve"], &[]));
    let error = world.up(&shop).await.unwrap_err();
    assert!(
        error
            .message
            .contains("shop-web-1 ended with exit code 1 soon after its update"),
        "{error}"
    );
    assert!(
        error
            .message
            .ends_with("the stack was rolled back to what it was"),
        "{error}"
    );
    assert_eq!(hashes(&world), good);
    assert!(world.containers().iter().all(|c| c.state == State::Running));
    assert!(world.plan(&before).is_empty(), "{:?}", world.plan(&before));
    assert_eq!(world.history().len(), 1);
}

#[tokio::test]
async fn the_new_one_first() {
    let world = World::new().await;
    let rollout = Rollout {
        order: Order::StartFirst,
        ..Rollout::default()
    };
    let mut shop = three(&world, rollout);
    let web = shop.services.get_mut("web").unwrap();
    web.replicas = 1;
    web.ports = vec![PortSpec {
        host_ip: None,
        published: Some(8080),
        published_end: None,
        target: 80,
        udp: false,
        labels: Vec::new(),
    }];
    world.up(&shop).await.unwrap();
    let old = world.container("web");
    command(&mut shop, "web", &["serve", "two"]);
    world.up(&shop).await.unwrap();
    let new = world.container("web");
    assert_eq!(world.started(), ["shop-web-1", "shop-web-1-next"]);
    assert_ne!(new.id, old.id);
    assert_eq!(
        (new.name.as_str(), world.containers().len()),
        ("shop-web-1", 1)
    );
    assert_eq!(new.ports, old.ports);
    let names = &world.record("web").nics[0].names;
    assert!(names.contains(&"shop-web-1".to_owned()), "{names:?}");
    assert!(world.plan(&shop).is_empty());
    // One that does not come up leaves the old one where it is.
    command(&mut shop, "web", &["missing"]);
    world.up(&shop).await.unwrap_err();
    let both = world.containers();
    assert_eq!(both.len(), 2);
    let still = both.iter().find(|c| c.name == "shop-web-1").unwrap();
    assert_eq!((&still.id, still.state), (&new.id, State::Running));
    assert_eq!(still.ports, old.ports);
    // The next try begins with a clean slate.
    command(&mut shop, "web", &["serve", "three"]);
    assert_eq!(
        world.plan(&shop)[0],
        "remove container shop-web-1-next: left by an update that was cut off"
    );
    world.up(&shop).await.unwrap();
    assert_eq!(hashes(&world), ["shop-web-1 serve three"]);
}

#[tokio::test]
async fn the_new_one_first_and_by_another_name() {
    let world = World::new().await;
    let rollout = Rollout {
        order: Order::StartFirst,
        ..Rollout::default()
    };
    let mut shop = three(&world, rollout);
    let web = shop.services.get_mut("web").unwrap();
    web.replicas = 1;
    shop.services
        .insert("db".to_owned(), service("db", &["serve"], &[]));
    world.up(&shop).await.unwrap();
    command(&mut shop, "web", &["serve", "two"]);
    let web = shop.services.get_mut("web").unwrap();
    web.container_name = Some("front".to_owned());
    world.up(&shop).await.unwrap();
    assert_eq!(world.container("web").name, "front");
    let names = &world.record("web").nics[0].names;
    assert!(names.contains(&"front".to_owned()), "{names:?}");
    assert!(world.plan(&shop).is_empty());
    // A name that somebody keeps is not for two.
    command(&mut shop, "web", &["serve", "three"]);
    let web = shop.services.get_mut("web").unwrap();
    web.container_name = Some("shop-db-1".to_owned());
    let error = world.up(&shop).await.unwrap_err();
    assert_eq!(error.code, "name_in_use");
    assert_eq!(world.container("web").name, "front");
}

#[tokio::test]
async fn history_and_the_way_back() {
    let world = World::new().await;
    let mut shop = world.stack(vec![service("web", &["serve"], &[])]);
    let error = world.rollback(None).await.unwrap_err();
    assert_eq!(error.message, "shop has no definition to go back to");
    world.up(&shop).await.unwrap();
    world.up(&shop).await.unwrap();
    command(&mut shop, "web", &["serve", "two"]);
    shop.services
        .insert("db".to_owned(), service("db", &["serve"], &[]));
    world.up(&shop).await.unwrap();
    assert_eq!(
        world.history(),
        ["1 up: web: new", "* 2 up: db: new; web: command"]
    );
    // One that was not reached is not in it.
    command(&mut shop, "web", &["missing"]);
    world.up(&shop).await.unwrap_err();
    assert_eq!(world.history().len(), 2);
    world.rollback(None).await.unwrap();
    assert_eq!(hashes(&world), ["shop-db-1 first", "shop-web-1 serve two"]);
    assert_eq!(world.history().len(), 2, "that is where it had been");
    world.rollback(Some(1)).await.unwrap();
    assert_eq!(hashes(&world), ["shop-web-1 first"]);
    assert_eq!(
        world.history()[2],
        "* 3 rollback to 1: web: command; db: removed"
    );
    let error = world.rollback(Some(9)).await.unwrap_err();
    assert_eq!(error.code, "not_found");
    world.down(Down::default()).await.unwrap();
    assert_eq!(world.history().len(), 3, "down keeps it");
    let request = Down {
        volumes: true,
        ..Down::default()
    };
    world.down(request).await.unwrap();
    assert!(world.history().is_empty());
}

#[tokio::test]
async fn the_way_back_leads_to_the_images_of_then() {
    let world = World::new().await;
    let mut shop = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    let then = world.container("web").image_id;
    world.another_image(2).await;
    let plan = world.plan(&shop);
    assert!(plan[0].contains("image changed"), "{plan:?}");
    world.up(&shop).await.unwrap();
    let now = world.container("web").image_id;
    assert_ne!(now, then);
    assert_eq!(world.history()[1], "* 2 up: made-up:1: another image");
    world.rollback(Some(1)).await.unwrap();
    assert_eq!(world.container("web").image_id, then);
    assert!(world.history()[2].starts_with("* 3 rollback to 1"));
    // The same way when an update fails.
    world.up(&shop).await.unwrap();
    assert_eq!(world.container("web").image_id, now);
    let web = shop.services.get_mut("web").unwrap();
    web.update = Some(Rollout {
        failure_action: FailureAction::Rollback,
        ..Rollout::default()
    });
    world.another_image(3).await;
    world.fake().fail_next_start("no such machine");
    world.up(&shop).await.unwrap_err();
    assert_eq!(world.container("web").image_id, now);
    assert_eq!(world.container("web").state, State::Running);
}

/// What was tried and did not work is nothing to go back to.
#[tokio::test]
async fn the_way_back_leads_to_what_worked() {
    let world = World::new().await;
    let mut shop = three(&world, Rollout::default());
    world.up(&shop).await.unwrap();
    let good = hashes(&world);
    command(&mut shop, "web", &["missing"]);
    world.up(&shop).await.unwrap_err();
    assert_eq!(hashes(&world)[0], "shop-web-1 missing");
    command(&mut shop, "web", &["missing", "too"]);
    let update = shop.services.get_mut("web").unwrap().update.as_mut();
    update.unwrap().failure_action = FailureAction::Rollback;
    let error = world.up(&shop).await.unwrap_err();
    assert!(error.message.contains("rolled back"), "{error}");
    assert_eq!(hashes(&world), good);
}

/// Data in a volume without a name outlives a replacement that does not come
/// about.
#[tokio::test]
async fn a_nameless_volume_waits_for_its_next_container() {
    let world = World::new().await;
    let mut db = service("db", &["serve"], &[]);
    db.mounts = vec![MountSpec {
        target: "/data".to_owned(),
        read_only: false,
        source: MountSource::Anonymous { nocopy: false },
    }];
    let mut shop = world.stack(vec![db]);
    world.up(&shop).await.unwrap();
    let volumes = || {
        let all = world.daemon.volumes().unwrap().into_iter();
        all.map(|volume| volume.name).collect::<Vec<_>>()
    };
    let first = volumes();
    assert_eq!(first.len(), 1);
    command(&mut shop, "db", &["serve", "two"]);
    refuse_new_containers(&world);
    world.up(&shop).await.unwrap_err();
    assert!(world.containers().is_empty());
    ledger(&world, "DROP TRIGGER refuse");
    world.up(&shop).await.unwrap();
    assert_eq!(volumes(), first);
    let owner = &world.daemon.volumes().unwrap()[0].anonymous_of;
    assert_eq!(owner.as_deref(), Some(world.containers()[0].id.as_str()));
}

/// An `up` of some services says nothing about the others.
#[tokio::test]
async fn the_way_back_leads_to_what_ran() {
    let world = World::new().await;
    let rollout = Rollout {
        failure_action: FailureAction::Rollback,
        ..Rollout::default()
    };
    let mut shop = three(&world, rollout);
    shop.services
        .insert("api".to_owned(), service("api", &["serve"], &[]));
    world.up(&shop).await.unwrap();
    command(&mut shop, "api", &["serve", "two"]);
    command(&mut shop, "web", &["serve", "two"]);
    let (progress, _events) = stack_runtime::progress::Progress::new();
    let request = stack_api::request::Up {
        spec: shop.clone(),
        services: vec!["web".to_owned()],
        ..Default::default()
    };
    let daemon = std::sync::Arc::clone(&world.daemon);
    stack_runtime::stack::up(daemon, request, progress)
        .await
        .unwrap();
    let good = hashes(&world);
    assert_eq!(good[..2], ["shop-api-1 first", "shop-web-1 serve two"]);
    command(&mut shop, "web", &["missing"]);
    let error = world.up(&shop).await.unwrap_err();
    assert!(error.message.contains("rolled back"), "{error}");
    assert_eq!(hashes(&world), good);
}
