//! `up --wait` without a health check: what had no chance to end is not up.

use std::time::{Duration, Instant};

use stack_api::container::State;
use stack_api::hook::{Hook, PreStart};
use stack_api::request::{Action, Up, Verb};
use stack_api::spec::{Condition, HealthCheckSpec, ServiceSpec};
use stack_runtime::progress::Progress;

use crate::locks::{action, soon};
use crate::world::{World, depends, service};

#[tokio::test]
async fn a_service_that_did_nothing_but_run_is_not_up_yet() {
    let world = World::new().await;
    let late = world.stack(vec![service("job", &["busy", "1200", "3"], &[])]);
    let error = world.up_and_wait(&late).await.unwrap_err();
    assert!(error.message.contains("exit code 3"), "{}", error.message);
}

#[tokio::test]
async fn a_service_that_waits_is_up_soon() {
    let world = World::new().await;
    let began = Instant::now();
    let calm = world.stack(vec![service("web", &["run", "60000", "3"], &[])]);
    world.up_and_wait(&calm).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_clock_that_was_set_back_holds_nobody_up() {
    let world = World::new().await;
    let calm = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&calm).await.unwrap();
    let handle = world.daemon.handles(Some("shop")).remove(0);
    handle.update(|record| {
        let started = record.container.started_ms.unwrap();
        record.container.started_ms = Some(started + 3_600_000);
    });
    soon(world.up_and_wait(&calm)).await.unwrap();
}

/// With a health check, as its image may have one.
fn checked(name: &str, command: &[&str]) -> ServiceSpec {
    let mut service = service(name, command, &[]);
    service.healthcheck = Some(HealthCheckSpec {
        test: Some(vec!["CMD".to_owned(), "true".to_owned()]),
        interval_ms: Some(3_600_000),
        ..HealthCheckSpec::default()
    });
    service
}

#[tokio::test]
async fn a_job_is_up_when_it_has_ended_well() {
    let world = World::new().await;
    let needs = [depends("job", Condition::ServiceCompletedSuccessfully)];
    let web = service("web", &["serve"], &needs);
    let shop = world.stack(vec![checked("job", &["run", "30", "0"]), web]);
    world.up_and_wait(&shop).await.unwrap();
    // As it is when nothing is left to do.
    world.up_and_wait(&shop).await.unwrap();
}

#[tokio::test]
async fn who_came_up_in_time_is_not_blamed_for_those_who_did_not() {
    let world = World::new().await;
    let needs = [depends("job", Condition::ServiceCompletedSuccessfully)];
    let web = service("web", &["serve"], &needs);
    let services = vec![
        service("job", &["run", "30", "0"], &[]),
        service("once", &["run", "30", "0"], &[]),
        web,
        checked("late", &["serve"]),
    ];
    let error = world
        .up_within(&world.stack(services), 2)
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "not everything was ready within 2 s: shop-late-1 is not healthy yet"
    );
}

fn sick(name: &str) -> ServiceSpec {
    let mut service = checked(name, &["serve"]);
    let check = service.healthcheck.as_mut().unwrap();
    check.test = Some(vec!["CMD".to_owned(), "false".to_owned()]);
    check.interval_ms = Some(10);
    service
}

#[tokio::test]
async fn the_first_failure_is_told_at_once() {
    let world = World::new().await;
    let shop = world.stack(vec![checked("late", &["serve"]), sick("bad")]);
    let waiting = Action {
        wait: true,
        ..action(Verb::Start)
    };
    for error in [
        soon(world.up_within(&shop, 3600)).await.unwrap_err(),
        soon(world.act(waiting)).await.unwrap_err(),
    ] {
        let message = &error.message;
        assert!(message.contains("shop-bad-1 is unhealthy"), "{message}");
    }
}

#[tokio::test]
async fn the_limit_counts_for_what_a_service_needs() {
    let world = World::new().await;
    let needs = [depends("db", Condition::ServiceHealthy)];
    let web = service("web", &["serve"], &needs);
    let shop = world.stack(vec![checked("db", &["serve"]), web]);
    let error = soon(world.up_within(&shop, 1)).await.unwrap_err();
    let told = "not everything was ready within 1 s: shop-db-1 is not healthy yet; \
                shop-web-1 is created";
    assert_eq!((&*error.code, &*error.message), ("wait_timeout", told));
    let start = Action {
        wait: true,
        wait_timeout: Some(1),
        ..action(Verb::Start)
    };
    let error = soon(world.act(start)).await.unwrap_err();
    assert_eq!((&*error.code, &*error.message), ("wait_timeout", told));
    assert_eq!(world.container("db").state, State::Running);
}

#[tokio::test]
async fn the_limit_counts_for_boots_and_hooks() {
    let world = World::new().await;
    world.fake().hang_next_boot();
    let slow = world.stack(vec![service("slow", &["serve"], &[])]);
    let error = soon(world.up_within(&slow, 1)).await.unwrap_err();
    let told = "not everything was ready within 1 s: shop-slow-1 is starting";
    assert_eq!((&*error.code, &*error.message), ("wait_timeout", told));
    // It goes on.
    soon(world.act(action(Verb::Kill))).await.unwrap();

    let mut web = service("web", &["serve"], &[]);
    let command = vec!["serve".to_owned()];
    web.hooks.pre_start = vec![PreStart {
        hook: Hook {
            command,
            ..Hook::default()
        },
        ..PreStart::default()
    }];
    let error = soon(world.up_within(&world.stack(vec![web]), 1))
        .await
        .unwrap_err();
    let told = "not everything was ready within 1 s: shop-web-1 is created";
    assert_eq!(error.message, told);
    // Nobody waits for it any more.
    let handles = world.daemon.handles(Some("shop"));
    let hook = handles.iter().find(|handle| handle.record().hook).unwrap();
    soon(hook.stopped()).await;
}

#[tokio::test]
async fn start_tells_of_what_ended_badly() {
    let world = World::new().await;
    let mut sick = checked("sick", &["exit", "4"]);
    sick.depends_on = [depends("web", Condition::ServiceStarted)].into();
    for (services, name) in [
        (vec![service("web", &["exit", "3"], &[])], "shop-web-1"),
        (vec![service("web", &["serve"], &[]), sick], "shop-sick-1"),
    ] {
        let (progress, _events) = Progress::new();
        let create = Up {
            spec: world.stack(services),
            no_start: true,
            ..Up::default()
        };
        let daemon = std::sync::Arc::clone(&world.daemon);
        stack_runtime::stack::up(daemon, create, progress)
            .await
            .unwrap();
        let start = Action {
            wait: true,
            ..action(Verb::Start)
        };
        let error = soon(world.act(start)).await.unwrap_err();
        assert_eq!(error.code, "service_failed");
        assert!(error.message.contains(name), "{error}");
    }
}
