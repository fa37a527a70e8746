//! Whole operations of the daemon with made-up VMs: order, restarts, health,
//! changes, and what a restarted daemon finds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod act;
mod anew;
mod api;
mod beside;
mod ends;
mod handover;
mod hooks;
mod image;
mod live;
mod locks;
mod machine;
mod one_off;
mod refused;
mod removal;
mod rollout;
mod script;
mod secrets;
mod settle;
mod unresolved;
mod world;

use std::sync::Arc;

use stack_api::container::{Container, Health, State};
use stack_api::event::Event;
use stack_api::request::{Action, Down, Pull, Up, Verb};
use stack_api::retry::Retry;
use stack_api::spec::{Condition, HealthCheckSpec, Restart};
use stack_runtime::progress::Progress;
use stack_runtime::stack;
use world::{World, depends, service};

#[tokio::test]
async fn dependencies_first_and_nothing_twice() {
    let world = World::new().await;
    let shop = world.stack(vec![
        service(
            "web",
            &["serve"],
            &[depends("app", Condition::ServiceStarted)],
        ),
        service(
            "app",
            &["serve"],
            &[depends("db", Condition::ServiceStarted)],
        ),
        service("db", &["serve"], &[]),
    ]);
    world.up(&shop).await.unwrap();
    assert_eq!(world.started(), ["shop-db-1", "shop-app-1", "shop-web-1"]);
    assert!(
        world
            .containers()
            .iter()
            .all(|c| c.state == State::Running && c.boot_id.is_some())
    );
    world.up(&shop).await.unwrap();
    assert_eq!(
        world.started().len(),
        3,
        "nothing changed, nothing was started"
    );
}

#[tokio::test]
async fn a_change_recreates_only_its_service() {
    let world = World::new().await;
    let mut shop = world.stack(vec![
        service("a", &["serve"], &[]),
        service("b", &["serve"], &[]),
    ]);
    world.up(&shop).await.unwrap();
    let before = world.containers();
    let b = shop.services.get_mut("b").unwrap();
    b.environment.insert("X".to_owned(), "1".to_owned());
    b.config_hash = "other".to_owned();
    world.up(&shop).await.unwrap();
    let after = world.containers();
    assert_eq!(before[0].id, after[0].id);
    assert_ne!(before[1].id, after[1].id);
    assert_eq!(after[1].name, "shop-b-1");
}

#[tokio::test]
async fn restart_policies() {
    let world = World::new().await;
    let mut twice = service("twice", &["exit", "3"], &[]);
    twice.restart = Restart::OnFailure { max: Some(2) };
    let mut well = service("well", &["exit", "0"], &[]);
    well.restart = Restart::OnFailure { max: None };
    let mut always = service("always", &["run", "20", "0"], &[]);
    always.restart = Restart::Always;
    let mut once = service("once", &["exit", "0"], &[]);
    once.restart = Restart::Always;
    once.retry.max_attempts = Some(1);
    let mut slow = service("slow", &["exit", "1"], &[]);
    slow.restart = Restart::Always;
    slow.retry.delay_ms = Some(3_600_000);
    let mut lasting = service("lasting", &["run", "40", "1"], &[]);
    lasting.restart = Restart::OnFailure { max: None };
    lasting.retry = Retry {
        delay_ms: Some(1),
        max_attempts: Some(1),
        window_ms: 20,
    };
    let shop = world.stack(vec![twice, well, always, once, slow, lasting]);
    world.up(&shop).await.unwrap();
    let twice = world.until("twice", |c| c.state == State::Exited).await;
    assert_eq!((twice.exit_code, twice.restarts), (Some(3), 2));
    let well = world.until("well", |c| c.state == State::Exited).await;
    assert_eq!((well.exit_code, well.restarts), (Some(0), 0));
    world.until("always", |c| c.restarts >= 2).await;
    let once = world.until("once", |c| c.state == State::Exited).await;
    assert_eq!(once.restarts, 1);
    let slow = world.until("slow", |c| c.state == State::Restarting).await;
    let pause = slow.next_start_ms.unwrap() - slow.finished_ms.unwrap();
    assert_eq!(pause, 3_600_000, "as long as the policy says");
    // Each of its runs is long enough to count as a success.
    world.until("lasting", |c| c.restarts >= 4).await;
    world
        .act(Action {
            verb: Verb::Stop,
            ..Action::default()
        })
        .await
        .unwrap();
    let always = world.until("always", |c| c.state == State::Exited).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(
        world.container("always").restarts,
        always.restarts,
        "stopped means stopped"
    );
}

#[tokio::test]
async fn an_unhealthy_dependency_stops_what_needs_it() {
    let world = World::new().await;
    let mut db = service("db", &["serve"], &[]);
    db.healthcheck = Some(HealthCheckSpec {
        test: Some(vec!["CMD".to_owned(), "false".to_owned()]),
        interval_ms: Some(10),
        ..HealthCheckSpec::default()
    });
    let app = service(
        "app",
        &["serve"],
        &[depends("db", Condition::ServiceHealthy)],
    );
    let error = world.up(&world.stack(vec![db, app])).await.unwrap_err();
    assert!(error.message.contains("shop-db-1 is unhealthy"), "{error}");
    assert!(error.message.contains("made-up failure"), "{error}");
    assert_eq!(world.started(), ["shop-db-1"]);
    assert_eq!(world.container("db").health, Some(Health::Unhealthy));
}

#[tokio::test]
async fn a_completed_job_lets_others_go_on_and_is_not_run_again() {
    let world = World::new().await;
    let job = service("job", &["run", "30", "0"], &[]);
    let app = service(
        "app",
        &["serve"],
        &[depends("job", Condition::ServiceCompletedSuccessfully)],
    );
    let shop = world.stack(vec![job, app]);
    world.up(&shop).await.unwrap();
    assert_eq!(world.container("job").exit_code, Some(0));
    world.up(&shop).await.unwrap();
    assert_eq!(world.started(), ["shop-job-1", "shop-app-1"]);
}

#[tokio::test]
async fn a_missing_program_is_127() {
    let world = World::new().await;
    let error = world
        .up(&world.stack(vec![service("a", &["missing"], &[])]))
        .await
        .unwrap_err();
    assert!(
        error.message.contains("executable file not found"),
        "{error}"
    );
    assert_eq!(error.exit_code, 127);
    let container = world.container("a");
    assert_eq!(
        (container.state, container.exit_code),
        (State::Dead, Some(127))
    );
}

#[tokio::test]
async fn a_vm_that_does_not_start_leaves_nothing_running() {
    let world = World::new().await;
    world.fake().fail_next_start("no such machine");
    let shop = world.stack(vec![service("a", &["serve"], &[])]);
    let error = world.up(&shop).await.unwrap_err();
    assert!(error.message.contains("no such machine"), "{error}");
    world.up(&shop).await.unwrap();
    assert_eq!(world.container("a").state, State::Running);
}

#[tokio::test]
async fn down_leaves_nothing() {
    let world = World::new().await;
    world
        .up(&world.stack(vec![service("a", &["stubborn"], &[])]))
        .await
        .unwrap();
    let request = Down {
        timeout: Some(0),
        ..Down::default()
    };
    world.down(request).await.unwrap();
    assert!(world.containers().is_empty());
    assert_eq!(world.files("data/disks"), Vec::<String>::new());
    assert_eq!(world.files("data/logs"), Vec::<String>::new());
    assert_eq!(world.files("run/vm"), Vec::<String>::new());
}

#[tokio::test]
async fn a_restarted_daemon_knows_its_containers() {
    let world = World::new().await;
    let mut kept = service("kept", &["serve"], &[]);
    kept.restart = Restart::Always;
    let shop = world.stack(vec![kept, service("ended", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    let id = world.container("kept").id;
    // Made-up VMs end with their daemon: real ones are taken over.
    let world = world.restarted().await;
    let kept = world.until("kept", |c| c.state == State::Running).await;
    assert_eq!(kept.id, id);
    let ended = world.until("ended", |c| c.state == State::Exited).await;
    assert_eq!(ended.exit_code, Some(137));
}

#[tokio::test]
async fn what_ends_with_the_host_uses_up_no_attempt() {
    let mut world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.restart = Restart::OnFailure { max: Some(1) };
    world.up(&world.stack(vec![web])).await.unwrap();
    for restarts in 1..=2 {
        world = world.restarted().await;
        let again = |c: &Container| c.state == State::Running && c.restarts == restarts;
        world.until("web", again).await;
        assert_eq!(world.record("web").attempts, 0);
    }
}

#[tokio::test]
async fn each_image_that_cannot_be_pulled_is_told() {
    let world = World::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = listener.local_addr().unwrap();
    drop(listener);
    let request = Pull {
        images: ["a", "b", "c"]
            .map(|name| format!("{registry}/{name}:1"))
            .into(),
        ..Pull::default()
    };
    let (progress, mut events) = Progress::new();
    let daemon = Arc::clone(&world.daemon);
    let error = stack::pull(daemon, request, progress).await.unwrap_err();
    let mut told = vec![error.message];
    while let Some(event) = events.recv().await {
        if let Event::Warning { message } = event {
            told.push(message);
        }
    }
    assert_eq!(told.len(), 3, "{told:?}");
    for name in ["a", "b", "c"] {
        let image = format!("{registry}/{name}");
        assert!(told.iter().any(|line| line.contains(&image)), "{told:?}");
    }
}

#[tokio::test]
async fn output_is_in_the_log() {
    let world = World::new().await;
    world
        .up(&world.stack(vec![service("a", &["say", "one", "two"], &[])]))
        .await
        .unwrap();
    world.until("a", |c| c.state == State::Running).await;
    let mut lines = Vec::new();
    for _ in 0..100 {
        lines = world.log("a");
        if lines.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(lines, ["one", "two"]);
}

#[tokio::test]
async fn too_much_memory_is_refused_before_anything_is_made() {
    let world = World::new().await;
    let mut greedy = service("greedy", &["serve"], &[]);
    greedy.memory = Some(1 << 50);
    let error = world.up(&world.stack(vec![greedy])).await.unwrap_err();
    assert_eq!(error.code, "memory");
    assert!(world.containers().is_empty());
}

#[tokio::test]
async fn what_has_a_name_of_its_own_is_not_scaled() {
    let world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.container_name = Some("front".to_owned());
    let shop = world.stack(vec![web]);
    let request = Up {
        spec: shop.clone(),
        scale: [("web".to_owned(), 2)].into(),
        ..Up::default()
    };
    let (progress, _events) = Progress::new();
    let error = stack_runtime::stack::up(Arc::clone(&world.daemon), request, progress)
        .await
        .unwrap_err();
    assert!(error.message.contains("container_name: front"), "{error}");
    assert!(world.containers().is_empty());
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_told() {
    let world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.extra_hosts = ["outside", "fixed"]
        .map(str::to_owned)
        .into_iter()
        .zip(["host-gateway".to_owned(), "10.1.1.1".to_owned()])
        .collect();
    let mut shop = world.stack(vec![web]);
    shop.networks.get_mut("default").unwrap().internal = true;
    let request = Up {
        spec: shop,
        ..Up::default()
    };
    let (progress, mut events) = Progress::new();
    stack_runtime::stack::up(Arc::clone(&world.daemon), request, progress)
        .await
        .unwrap();
    let mut warnings = Vec::new();
    while let Some(event) = events.recv().await {
        warnings.push(format!("{event:?}"));
    }
    warnings.retain(|event| event.contains("host-gateway"));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("outside"), "{warnings:?}");
}
