//! Changes that running containers take, and those that they do not.

use stack_api::container::{Health, State};
use stack_api::request::{Action, Verb};
use stack_api::spec::{
    Condition, Dependency, HealthCheckSpec, NetworkSpec, PortSpec, Restart, ServiceSpec, StackSpec,
};

use crate::world::{World, service};

fn port(published: u16) -> PortSpec {
    PortSpec {
        host_ip: None,
        published: Some(published),
        published_end: None,
        target: 80,
        udp: false,
        labels: Vec::new(),
    }
}

fn check(test: &str) -> HealthCheckSpec {
    HealthCheckSpec {
        test: Some(vec!["CMD".to_owned(), test.to_owned()]),
        interval_ms: Some(20),
        ..HealthCheckSpec::default()
    }
}

/// Changes a service as the loader does it: with another hash.
fn change(stack: &mut StackSpec, name: &str, change: impl FnOnce(&mut ServiceSpec)) {
    let service = stack.services.get_mut(name).unwrap();
    change(service);
    service.config_hash.push('+');
}

#[tokio::test]
async fn what_a_vm_can_take_leaves_it_running() {
    let world = World::new().await;
    let mut app = service("app", &["serve"], &[]);
    app.depends_on.insert(
        "web".to_owned(),
        Dependency {
            condition: Condition::ServiceStarted,
            restart: true,
            required: true,
        },
    );
    let mut shop = world.stack(vec![service("web", &["serve"], &[]), app]);
    world.up(&shop).await.unwrap();
    let before = world.containers();
    change(&mut shop, "web", |web| {
        web.ports = vec![port(8080)];
        web.labels.insert("team".to_owned(), "blue".to_owned());
        web.restart = Restart::Always;
        web.stop_signal = Some("SIGINT".to_owned());
        web.stop_grace_period_ms = Some(1500);
        web.memory = Some(256 << 20);
        web.pids_limit = Some(64);
        web.dns = vec!["10.0.0.1".to_owned()];
        web.extra_hosts = vec![("db.local".to_owned(), "10.0.0.2".to_owned())];
        let place = web.networks.get_mut("default").unwrap();
        place.aliases = vec!["shop".to_owned()];
    });
    let plan = world.plan(&shop);
    assert_eq!(plan.len(), 1);
    assert!(
        plan[0].starts_with("update container shop-web-1: "),
        "{plan:?}"
    );
    world.up(&shop).await.unwrap();
    let after = world.containers();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.id, after.id);
        assert_eq!(before.boot_id, after.boot_id);
        assert_eq!(before.started_ms, after.started_ms);
    }
    let web = world.container("web");
    assert_eq!(web.config_hash, "first+");
    assert_eq!(web.labels["team"], "blue");
    assert_eq!(web.ports[0].host_port, 8080);
    assert!(world.plan(&shop).is_empty(), "{:?}", world.plan(&shop));
    // The next start finds all of it.
    let record = world.record("web");
    assert_eq!(record.blueprint.stop_signal, "SIGINT");
    assert_eq!(record.blueprint.config.memory_limit, Some(256 << 20));
    assert_eq!(record.blueprint.config.pids_limit, Some(64));
    // The network's name server is told whom to ask.
    assert_eq!(record.blueprint.config.nameservers, ["10.89.0.1"]);
    assert_eq!(record.spec.dns, ["10.0.0.1"]);
    assert!(record.nics[0].names.contains(&"shop".to_owned()));
    // So does a daemon that was started anew.
    let world = world.restarted().await;
    assert_eq!(world.record("web").spec, shop.services["web"]);
}

#[tokio::test]
async fn a_port_in_use_changes_nothing() {
    let world = World::new().await;
    let mut db = service("db", &["serve"], &[]);
    db.ports = vec![port(5432)];
    let mut shop = world.stack(vec![service("web", &["serve"], &[]), db]);
    change(&mut shop, "web", |web| web.ports = vec![port(8080)]);
    world.up(&shop).await.unwrap();
    let before = world.container("web");
    change(&mut shop, "web", |web| web.ports = vec![port(5432)]);
    let error = world.up(&shop).await.unwrap_err();
    assert_eq!(error.code, "port_in_use");
    assert_eq!(
        error.message,
        "service web: port 5432 is already in use by container shop-db-1 of stack shop"
    );
    assert_eq!(world.container("web"), before, "as it was");
    // And it is still to be done.
    assert_eq!(
        world.plan(&shop),
        ["update container shop-web-1: ports[0] changed"]
    );
    change(&mut shop, "db", |db| db.ports.clear());
    world.up(&shop).await.unwrap();
    assert_eq!(world.container("web").ports[0].host_port, 5432);
    assert_eq!(world.container("web").boot_id, before.boot_id);
}

#[tokio::test]
async fn ports_are_swapped_in_one_go() {
    let world = World::new().await;
    let (mut a, mut b) = (service("a", &["serve"], &[]), service("b", &["serve"], &[]));
    a.ports = vec![port(8001)];
    b.ports = vec![port(8002)];
    let mut shop = world.stack(vec![a, b]);
    world.up(&shop).await.unwrap();
    let boots = ["a", "b"].map(|name| world.container(name).boot_id);
    change(&mut shop, "a", |a| a.ports = vec![port(8002)]);
    change(&mut shop, "b", |b| b.ports = vec![port(8001)]);
    world.up(&shop).await.unwrap();
    let ports = ["a", "b"].map(|name| world.container(name).ports[0].host_port);
    assert_eq!(ports, [8002, 8001]);
    assert_eq!(boots, ["a", "b"].map(|name| world.container(name).boot_id));
    assert!(world.plan(&shop).is_empty());
}

#[tokio::test]
async fn replicas_share_a_range_of_ports() {
    let world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.replicas = 2;
    web.ports = vec![PortSpec {
        published_end: Some(8001),
        ..port(8000)
    }];
    let mut shop = world.stack(vec![web]);
    world.up(&shop).await.unwrap();
    let mut ports: Vec<u16> = world
        .containers()
        .iter()
        .map(|c| c.ports[0].host_port)
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [8000, 8001]);
    change(&mut shop, "web", |web| web.replicas = 3);
    let error = world.up(&shop).await.unwrap_err();
    assert!(
        error.message.contains("ports 8000-8001 are all in use"),
        "{error}"
    );
}

#[tokio::test]
async fn a_guest_that_refuses_keeps_everything() {
    let world = World::new().await;
    let mut shop = world.stack(vec![service("web", &["serve"], &[])]);
    change(&mut shop, "web", |web| web.ports = vec![port(8080)]);
    world.up(&shop).await.unwrap();
    let before = world.container("web");
    change(&mut shop, "web", |web| {
        // The made-up guest says that it uses more.
        web.memory = Some(1);
        web.ports = vec![port(9090)];
    });
    let error = world.up(&shop).await.unwrap_err();
    assert_eq!(
        error.message,
        "shop-web-1 cannot be updated: the service uses more than that"
    );
    assert_eq!(world.container("web"), before);
}

#[tokio::test]
async fn who_joins_at_once_gets_different_addresses() {
    let world = World::new().await;
    let names: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
    let services = names.iter().map(|name| service(name, &["serve"], &[]));
    let mut shop = world.stack(services.collect());
    world.up(&shop).await.unwrap();
    let back = NetworkSpec {
        name: "shop_back".to_owned(),
        ..NetworkSpec::default()
    };
    shop.networks.insert("back".to_owned(), back);
    for name in &names {
        change(&mut shop, name, |service| {
            service
                .networks
                .insert("back".to_owned(), Default::default());
        });
    }
    let before = world.containers();
    world.up(&shop).await.unwrap();
    let after = world.containers();
    let mut addresses = std::collections::BTreeSet::new();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.boot_id, after.boot_id);
        let own = after.networks.iter().find(|(name, _)| name == "shop_back");
        addresses.insert(own.unwrap().1);
    }
    assert_eq!(addresses.len(), names.len(), "{addresses:?}");
}

#[tokio::test]
async fn health_checks_come_change_and_go() {
    let world = World::new().await;
    let mut shop = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    let boot = world.container("web").boot_id;
    assert_eq!(world.container("web").health, None);
    change(&mut shop, "web", |web| {
        web.healthcheck = Some(check("true"))
    });
    world.up_and_wait(&shop).await.unwrap();
    assert_eq!(world.container("web").health, Some(Health::Healthy));
    change(&mut shop, "web", |web| {
        web.healthcheck = Some(check("false"))
    });
    let error = world.up_and_wait(&shop).await.unwrap_err();
    assert!(error.message.contains("unhealthy"), "{error}");
    change(&mut shop, "web", |web| web.healthcheck = None);
    world.up_and_wait(&shop).await.unwrap();
    assert_eq!(world.container("web").health, None);
    assert_eq!(world.container("web").boot_id, boot);
}

#[tokio::test]
async fn a_policy_counts_at_the_next_exit() {
    let world = World::new().await;
    let mut shop = world.stack(vec![service("job", &["run", "400", "3"], &[])]);
    world.up(&shop).await.unwrap();
    change(&mut shop, "job", |job| {
        job.restart = Restart::OnFailure { max: Some(1) }
    });
    world.up(&shop).await.unwrap();
    let job = world
        .until("job", |c| c.restarts == 1 && c.state == State::Exited)
        .await;
    assert_eq!(job.exit_code, Some(3));
}

#[tokio::test]
async fn more_than_the_vm_has_is_a_new_container() {
    let world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.memory = Some(128 << 20);
    let mut shop = world.stack(vec![web]);
    world.up(&shop).await.unwrap();
    let before = world.container("web");
    change(&mut shop, "web", |web| web.memory = Some(64 << 20));
    world.up(&shop).await.unwrap();
    assert_eq!(world.container("web").id, before.id);
    change(&mut shop, "web", |web| web.memory = Some(256 << 20));
    assert_eq!(
        world.plan(&shop)[0],
        "recreate container shop-web-1: mem_limit changed"
    );
    world.up(&shop).await.unwrap();
    assert_ne!(world.container("web").id, before.id);
}

#[tokio::test]
async fn scale_leaves_the_others_alone() {
    let world = World::new().await;
    let mut shop = world.stack(vec![service("web", &["serve"], &[])]);
    shop.services.get_mut("web").unwrap().replicas = 2;
    world.up(&shop).await.unwrap();
    let before = world.containers();
    shop.services.get_mut("web").unwrap().replicas = 3;
    world.up(&shop).await.unwrap();
    let after = world.containers();
    assert_eq!(after[..2], before[..]);
    shop.services.get_mut("web").unwrap().replicas = 1;
    world.up(&shop).await.unwrap();
    assert_eq!(world.containers(), before[..1]);
}

/// An update that was cut off is told again, also when the file is the old one
/// by then.
#[tokio::test]
async fn an_update_that_was_cut_off() {
    let world = World::new().await;
    let shop = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    let before = world.containers().remove(0);
    let handle = world.daemon.handles(Some("shop")).remove(0);
    handle.update(|record| record.container.config_hash.clear());
    assert!(!world.plan(&shop).is_empty());
    world.up(&shop).await.unwrap();
    let after = world.containers().remove(0);
    assert_eq!((&after.id, after.pid), (&before.id, before.pid));
    assert_eq!(after.config_hash, before.config_hash);
    assert!(world.plan(&shop).is_empty());
}

#[tokio::test]
async fn what_was_joined_by_hand_stays() {
    let world = World::new().await;
    let mut shop = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    world.create_network("far");
    world.connect("far", "shop-web-1").await.unwrap();
    world
        .disconnect("shop_default", "shop-web-1")
        .await
        .unwrap();
    let restart = Action {
        verb: Verb::Restart,
        ..Action::default()
    };
    world.act(restart).await.unwrap();
    let on = |world: &World| -> Vec<String> {
        let networks = world.container("web").networks;
        networks.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(on(&world), ["far"]);
    change(&mut shop, "web", |web| {
        web.labels.insert("a".to_owned(), "b".to_owned());
    });
    world.up(&shop).await.unwrap();
    assert_eq!(on(&world), ["far", "shop_default"]);
}
