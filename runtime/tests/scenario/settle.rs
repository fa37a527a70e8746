//! `up --wait` without a health check: what had no chance to end is not up.

use std::time::{Duration, Instant};

use stack_api::spec::{Condition, HealthCheckSpec, ServiceSpec};

use crate::locks::soon;
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
