//! `start` and `restart` with what a service needs, `rm` of what is not there,
//! and orphans.

use std::sync::Arc;

use stack_api::container::State;
use stack_api::request::{Action, Up, Verb};
use stack_api::run::Run;
use stack_api::spec::{Condition, StackSpec};
use stack_runtime::progress::Progress;
use stack_runtime::stack;

use crate::world::{World, depends, service};

fn action(verb: Verb, services: &[&str]) -> Action {
    Action {
        verb,
        services: services.iter().map(|name| (*name).to_owned()).collect(),
        ..Action::default()
    }
}

/// `job` takes a while, `app` needs its end.
fn shop(world: &World, restart: bool) -> StackSpec {
    let mut needs = depends("job", Condition::ServiceCompletedSuccessfully);
    needs.1.restart = restart;
    world.stack(vec![
        service("job", &["run", "300", "0"], &[]),
        service("app", &["serve"], &[needs]),
        service("other", &["serve"], &[]),
    ])
}

/// The app was started after the job's end.
fn waited(world: &World) -> bool {
    let (app, job) = (world.container("app"), world.container("job"));
    app.state == State::Running && app.started_ms >= job.finished_ms
}

#[tokio::test]
async fn start_brings_what_is_needed_and_waits_for_it() {
    let world = World::new().await;
    world.up(&shop(&world, false)).await.unwrap();
    world.act(action(Verb::Stop, &[])).await.unwrap();
    let before = world.container("job").finished_ms;
    world.act(action(Verb::Start, &["app"])).await.unwrap();
    assert_ne!(world.container("job").finished_ms, before);
    assert!(waited(&world));
    assert_eq!(world.container("other").state, State::Exited);
}

#[tokio::test]
async fn restart_waits_for_what_is_restarted_with_it() {
    let world = World::new().await;
    world.up(&shop(&world, true)).await.unwrap();
    world.act(action(Verb::Restart, &[])).await.unwrap();
    assert!(waited(&world));
}

#[tokio::test]
async fn a_restart_that_is_cut_off_leaves_nothing_down() {
    let world = World::new().await;
    let mut slow = service("slow", &["stubborn"], &[]);
    slow.stop_grace_period_ms = Some(500);
    let stopped = service("stopped", &["serve"], &[]);
    let stack = world.stack(vec![slow, stopped]);
    world.up(&stack).await.unwrap();
    world.act(action(Verb::Stop, &["stopped"])).await.unwrap();
    let before = world.container("slow").boot_id;
    tokio::select! {
        _ = world.act(action(Verb::Restart, &[])) => panic!("it ended too early"),
        slow = world.until("slow", |c| c.state == State::Stopping) => assert!(slow.halted),
    }
    let again = |c: &stack_api::container::Container| {
        c.state == State::Running && c.boot_id != before && !c.halted
    };
    world.until("slow", again).await;
    assert_eq!(world.container("stopped").state, State::Exited);
}

#[tokio::test]
async fn a_restart_that_fails_starts_no_more() {
    let world = World::new().await;
    let mut needs = depends("job", Condition::ServiceCompletedSuccessfully);
    needs.1.restart = true;
    let job = service("job", &["run", "100", "3"], &[]);
    let app = service("app", &["serve"], &[]);
    let mut stack = world.stack(vec![job, app]);
    world.up(&stack).await.unwrap();
    // As a later `up` may have it.
    let app = stack.services.get_mut("app").unwrap();
    app.depends_on.extend([needs]);
    world.daemon.ledger.put_stack("shop", &stack).unwrap();
    let error = world.act(action(Verb::Restart, &[])).await.unwrap_err();
    assert!(error.message.contains("job"), "{error}");
    let app = world.container("app");
    assert_eq!((app.state, app.halted), (State::Exited, false));
}

#[tokio::test]
async fn what_is_not_there_need_not_be_removed() {
    let world = World::new().await;
    world.up(&shop(&world, false)).await.unwrap();
    let rm = Action {
        force: true,
        ..action(Verb::Rm, &["never", "other"])
    };
    world.act(rm).await.unwrap();
    assert!(world.containers().iter().all(|c| c.service != "other"));
    let error = world.act(action(Verb::Start, &["app", "other"])).await;
    assert!(error.unwrap_err().message.contains("other"));
}

#[tokio::test]
async fn a_paused_container_is_not_waited_for() {
    let world = World::new().await;
    world.up(&shop(&world, false)).await.unwrap();
    world.act(action(Verb::Pause, &["app"])).await.unwrap();
    let error = world.act(action(Verb::Start, &["app"])).await.unwrap_err();
    assert_eq!(error.code, "paused");
}

#[tokio::test]
async fn orphans_go_and_nothing_else_is_touched() {
    let world = World::new().await;
    let mut shop = shop(&world, false);
    world.up(&shop).await.unwrap();
    let run = Run {
        spec: shop.clone(),
        service: service("app", &["exit", "0"], &[]),
        name: "left".to_owned(),
        no_deps: true,
        ..Run::default()
    };
    let (progress, _events) = Progress::new();
    stack::run(Arc::clone(&world.daemon), run, progress)
        .await
        .unwrap();
    let names = |world: &World| {
        let mut names: Vec<_> = world.containers().into_iter().map(|c| c.name).collect();
        names.sort();
        names
    };
    let handles = world.daemon.handles(Some("shop"));
    let left = handles
        .iter()
        .find(|h| h.container().name == "left")
        .unwrap();
    shop.services.remove("other");
    world.act(action(Verb::Stop, &["app"])).await.unwrap();
    let request = Up {
        spec: shop,
        remove_orphans: true,
        orphans_only: true,
        ..Up::default()
    };
    let up = async |request: &Up| {
        let (progress, _events) = Progress::new();
        stack::up(Arc::clone(&world.daemon), request.clone(), progress).await
    };
    up(&request).await.unwrap();
    assert_eq!(names(&world), ["left", "shop-app-1", "shop-job-1"]);
    assert_eq!(world.container("job").state, State::Exited);
    left.start();
    let mut changes = left.changes();
    let ended = changes.wait_for(|record| record.container.state == State::Exited);
    ended.await.unwrap();
    up(&request).await.unwrap();
    assert_eq!(names(&world), ["shop-app-1", "shop-job-1"]);
}
