//! `up --wait` without a health check: what had no chance to end is not up.

use std::time::{Duration, Instant};

use crate::locks::soon;
use crate::world::{World, service};

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
