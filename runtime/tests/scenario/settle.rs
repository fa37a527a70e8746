//! `up --wait` without a health check: what had no chance to end is not up.

use std::time::{Duration, Instant};

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
