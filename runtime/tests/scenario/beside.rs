//! What is there beside what an `up` starts: machines of services that are not in its file,
//! networks of other stacks, and services that stay as they are.

use std::sync::Arc;

use stack_api::container::{Health, State};
use stack_api::event::{ApiError, Event};
use stack_api::request::{Action, Up, Verb};
use stack_api::spec::{Condition, HealthCheckSpec, ServiceSpec, StackSpec};
use stack_runtime::progress::Progress;
use stack_runtime::stack;
use stack_runtime::volume::VolumeKind;

use crate::removal::{down, mounting, with_file, with_volumes};
use crate::world::{World, depends, service};

/// `up`, with what it says: warnings, and each status of a container.
async fn up(world: &World, request: Up) -> (Result<(), ApiError>, Vec<String>) {
    let (progress, mut events) = Progress::new();
    let done = stack::up(Arc::clone(&world.daemon), request, progress).await;
    let mut said = Vec::new();
    while let Some(event) = events.recv().await {
        match event {
            Event::Warning { message } => said.push(message),
            Event::Step {
                kind, name, status, ..
            } if kind == "container" => said.push(format!("{name} {status}")),
            _ => {}
        }
    }
    (done, said)
}

fn of(spec: &StackSpec) -> Up {
    Up {
        spec: spec.clone(),
        ..Up::default()
    }
}

fn kind(world: &World, volume: &str) -> VolumeKind {
    let volumes = world.daemon.volumes().unwrap();
    volumes.iter().find(|v| v.name == volume).unwrap().kind
}

fn all_run(world: &World) -> bool {
    let containers = world.containers();
    containers.iter().all(|c| c.state == State::Running)
}

#[tokio::test]
async fn the_disk_of_an_orphan_that_runs_is_shared() {
    let world = World::new().await;
    let with = |service: ServiceSpec| with_volumes(world.stack(vec![service]), &["data"], false);
    let old = with(mounting("web", &["data"]));
    world.up(&old).await.unwrap();
    assert_eq!(kind(&world, "data"), VolumeKind::Disk);
    // Removed by the plan: the disk goes over.
    let removes = Up {
        remove_orphans: true,
        ..of(&with(mounting("app", &["data"])))
    };
    up(&world, removes).await.0.unwrap();
    assert_eq!(kind(&world, "data"), VolumeKind::Disk);
    // One that does not run, and is not started, needs nothing.
    let stop = Action {
        verb: Verb::Stop,
        services: vec!["app".to_owned()],
        ..Action::default()
    };
    world.act(stop).await.unwrap();
    world.up(&old).await.unwrap();
    assert_eq!(kind(&world, "data"), VolumeKind::Disk);
    // A service of profiles that are not active now.
    let mut other = with(mounting("copy", &["data"]));
    other.disabled.push("web".to_owned());
    world.up(&other).await.unwrap();
    assert_eq!(kind(&world, "data"), VolumeKind::Tree);
    assert_eq!(world.container("web").state, State::Running);
    assert_eq!(world.container("copy").state, State::Running);
}

#[tokio::test]
async fn a_service_that_does_not_have_the_volume_any_more_and_is_not_touched() {
    let world = World::new().await;
    let services = vec![mounting("a", &["data"]), service("b", &["serve"], &[])];
    let mut shop = with_volumes(world.stack(services), &["data"], false);
    world.up(&shop).await.unwrap();
    for moved in [mounting("b", &["data"]), service("a", &["serve"], &[])] {
        let moved = ServiceSpec {
            config_hash: "other".to_owned(),
            ..moved
        };
        shop.services.insert(moved.name.clone(), moved);
    }
    let one = Up {
        services: vec!["b".to_owned()],
        ..of(&shop)
    };
    up(&world, one).await.0.unwrap();
    assert_eq!(kind(&world, "data"), VolumeKind::Tree);
    assert!(all_run(&world));
}

#[tokio::test]
async fn a_network_that_another_stack_has_made_is_used_as_it_is() {
    let world = World::new().await;
    let shop = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    let mut other = world.stack(vec![service("app", &["serve"], &[])]);
    other.name = "other".to_owned();
    let told = "network shop_default belongs to stack shop, and is used as it is: write \
                `external: true` if that is meant, or give this one another `name:`";
    for _ in 0..2 {
        let (done, said) = up(&world, of(&other)).await;
        done.unwrap();
        let warnings = said.iter().filter(|said| *said == told);
        assert_eq!(warnings.count(), 1, "{said:?}");
    }
    assert_eq!(world.started(), ["shop-web-1", "other-app-1"]);
    let warnings = down(&world, "shop", with_file(&["web"], &[])).await;
    assert_eq!(
        warnings,
        ["network shop_default stays: it is used by other-app-1"]
    );
    // It is not the other one's to remove.
    assert_eq!(
        down(&world, "other", with_file(&["app"], &[])).await,
        [""; 0]
    );
    let left = stack::list_networks(&world.daemon).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].project, "shop");
}

fn checked(test: &str) -> Option<HealthCheckSpec> {
    Some(HealthCheckSpec {
        test: Some(vec!["CMD".to_owned(), test.to_owned()]),
        interval_ms: Some(10),
        ..HealthCheckSpec::default()
    })
}

#[tokio::test]
async fn what_stays_needs_its_dependencies_all_the_same() {
    let world = World::new().await;
    let mut db = service("db", &["serve"], &[]);
    db.healthcheck = checked("true");
    let needs = [
        depends("db", Condition::ServiceHealthy),
        depends("job", Condition::ServiceCompletedSuccessfully),
    ];
    let mut shop = world.stack(vec![
        db,
        service("job", &["exit", "0"], &[]),
        service("web", &["serve"], &needs),
        service("app", &["serve"], &needs),
    ]);
    world.up(&shop).await.unwrap();
    let started = world.started().len();
    let (done, said) = up(&world, of(&shop)).await;
    done.unwrap();
    assert!(
        !said.iter().any(|said| said.contains("waiting")),
        "{said:?}"
    );
    // The other check begins anew, and nothing else happens.
    let mut check = |test: &str| {
        let db = shop.services.get_mut("db").unwrap();
        db.healthcheck = checked(test);
        db.config_hash = test.to_owned();
        of(&shop)
    };
    let ill = check("false");
    for request in [ill.clone(), ill] {
        let error = up(&world, request.clone()).await.0.unwrap_err();
        let told = "shop-app-1 was left as it is, but its dependency shop-db-1 is unhealthy";
        assert!(error.message.starts_with(told), "{error}");
        // For one service alone, its dependencies are nobody's business.
        let alone = Up {
            services: vec!["web".to_owned()],
            no_deps: true,
            ..request
        };
        up(&world, alone).await.0.unwrap();
    }
    up(&world, check("true")).await.0.unwrap();
    assert_eq!(world.container("db").health, Some(Health::Healthy));
    assert_eq!(world.started().len(), started, "nothing was started");
}
