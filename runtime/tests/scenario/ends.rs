//! How runs end that do not go as they should, and what becomes of them.

use std::time::Duration;

use stack_api::container::State;
use stack_api::request::{Action, Verb};
use stack_api::spec::{Condition, HealthCheckSpec, Restart};
use stack_runtime::container::Record;
use stack_runtime::container::aside::Aside;
use stack_runtime::ledger::Table;

use crate::locks::{action, soon};
use crate::world::{World, depends, service};

#[tokio::test]
async fn a_guest_that_does_not_listen_can_be_stopped() {
    let world = World::new().await;
    world
        .up(&world.stack(vec![service("mute", &["mute"], &[])]))
        .await
        .unwrap();
    // More than may be on its way to it.
    soon(async {
        while world.log("mute").len() < 1500 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let stop = Action {
        timeout: Some(0),
        ..action(Verb::Stop)
    };
    soon(world.act(stop)).await.unwrap();
    assert_eq!(world.container("mute").state, State::Exited);
}

#[tokio::test]
async fn a_start_is_called_off_while_the_vm_boots() {
    let world = World::new().await;
    world.fake().hang_next_boot();
    let mut slow = service("slow", &["serve"], &[]);
    slow.stop_grace_period_ms = Some(3_600_000);
    let shop = world.stack(vec![slow]);
    let stop_at_once = Action {
        timeout: Some(0),
        ..action(Verb::Stop)
    };
    let stop = async || {
        while world.containers().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world
            .until("slow", |container| container.pid.is_some())
            .await;
        soon(world.act(stop_at_once.clone())).await.unwrap();
        let container = world.container("slow");
        assert_eq!((container.pid, container.error), (None, None));
        (container.state, container.exit_code)
    };
    // Whoever waits for it is told, and nothing is left of it.
    let (up, end) = soon(async { tokio::join!(world.up(&shop), stop()) }).await;
    let error = up.unwrap_err();
    assert!(error.message.contains("stopped while it was"), "{error}");
    assert_eq!(end, (State::Created, None));
    // The same when it has run before.
    world.up(&shop).await.unwrap();
    soon(world.act(action(Verb::Stop))).await.unwrap();
    let before = world.container("slow");
    assert!(before.exit_code.is_some());
    world.fake().hang_next_boot();
    let (up, end) = soon(async { tokio::join!(world.up(&shop), stop()) }).await;
    assert!(up.unwrap_err().message.contains("stopped while it was"));
    // How it ended then is still known.
    assert_eq!(end, (State::Exited, before.exit_code));
    assert_eq!(world.container("slow").finished_ms, before.finished_ms);
}

/// With a check, a crash is no end of the wait: it may be a matter of time.
#[tokio::test]
async fn who_ends_again_and_again_is_not_waited_for_for_ever() {
    let world = World::new().await;
    let mut crashing = service("crashing", &["exit", "3"], &[]);
    crashing.restart = Restart::Always;
    crashing.retry.delay_ms = Some(1);
    crashing.healthcheck = Some(HealthCheckSpec {
        test: Some(vec!["CMD".to_owned(), "false".to_owned()]),
        retries: Some(1000),
        ..HealthCheckSpec::default()
    });
    let needs = [depends("crashing", Condition::ServiceHealthy)];
    let shop = world.stack(vec![crashing, service("web", &["serve"], &needs)]);
    let error = soon(world.up(&shop)).await.unwrap_err();
    let told = "shop-crashing-1 has ended 1";
    assert!(error.message.contains(told), "{error}");
    assert!(error.message.contains("last with exit code 3"), "{error}");
}

#[tokio::test]
async fn what_is_between_two_runs_is_ended_by_a_signal() {
    let world = World::new().await;
    let mut crashing = service("crashing", &["exit", "1"], &[]);
    crashing.restart = Restart::Always;
    crashing.retry.delay_ms = Some(3_600_000);
    let shop = world.stack(vec![crashing, service("web", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    world
        .until("crashing", |c| c.state == State::Restarting)
        .await;
    let kill = |signal: &str| Action {
        signal: Some(signal.to_owned()),
        ..action(Verb::Kill)
    };
    // It is nobody's.
    soon(world.act(kill("HUP"))).await.unwrap();
    assert_eq!(world.container("crashing").state, State::Restarting);
    world.until("web", |c| c.state == State::Exited).await;
    world.act(action(Verb::Start)).await.unwrap();
    world
        .until("crashing", |c| c.state == State::Restarting)
        .await;
    soon(world.act(kill("TERM"))).await.unwrap();
    let ended = world.until("crashing", |c| c.state == State::Exited).await;
    assert_eq!((ended.exit_code, ended.next_start_ms), (Some(1), None));
    world.until("web", |c| c.exit_code == Some(143)).await;
}

#[tokio::test]
async fn files_of_what_ends_again_and_again_can_be_had() {
    let world = World::new().await;
    let mut crashing = service("crashing", &["exit", "1"], &[]);
    crashing.restart = Restart::Always;
    world.up(&world.stack(vec![crashing])).await.unwrap();
    let handle = world.daemon.handles(Some("shop")).remove(0);
    let aside = soon(async {
        loop {
            world
                .until("crashing", |c| c.state == State::Restarting)
                .await;
            // It may have been started again at this moment.
            if let Ok(aside) = Aside::open(&world.daemon, &handle).await {
                break aside;
            }
        }
    })
    .await;
    // Nobody else gets its disks meanwhile.
    let (before, restarts) = (world.started().len(), world.container("crashing").restarts);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.started().len(), before);
    aside.close().await.unwrap();
    world.until("crashing", |c| c.restarts > restarts).await;
}

#[tokio::test]
async fn a_policy_tries_again_when_it_was_the_host() {
    let world = World::new().await;
    let mut web = service("web", &["run", "300", "1"], &[]);
    web.restart = Restart::Always;
    world.up(&world.stack(vec![web])).await.unwrap();
    world.fake().fail_next_start("no such machine");
    let again = world
        .until("web", |c| c.restarts >= 2 && c.state == State::Running)
        .await;
    assert_eq!(again.error, None, "that is over");
    // Who asks for a start hears of it.
    soon(world.act(action(Verb::Stop))).await.unwrap();
    world.fake().fail_next_start("no such machine");
    let error = soon(world.act(action(Verb::Start))).await.unwrap_err();
    assert!(error.message.contains("no such machine"), "{error}");
    // The service is not to blame.
    assert_eq!(error.code, "vm_failed");
}

#[tokio::test]
async fn what_is_ended_by_hand_stays_so() {
    let world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.restart = Restart::Always;
    let shop = world.stack(vec![web]);
    world.up(&shop).await.unwrap();
    let kill = |signal: &str| Action {
        signal: Some(signal.to_owned()),
        ..action(Verb::Kill)
    };
    // It ends by another signal: its policy counts.
    world.act(kill("HUP")).await.unwrap();
    world
        .until("web", |c| c.restarts == 1 && c.state == State::Running)
        .await;
    world.act(kill("TERM")).await.unwrap();
    let ended = world.until("web", |c| c.state == State::Exited).await;
    assert_eq!((ended.exit_code, ended.restarts), (Some(143), 1));
    assert!(!world.record("web").wanted);
    // Until it is started again.
    world.up(&shop).await.unwrap();
    world.act(kill("HUP")).await.unwrap();
    world.until("web", |c| c.restarts == 1).await;
}

#[tokio::test]
async fn what_the_ledger_could_not_take_is_told_later() {
    let world = World::new().await;
    let shop = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    let ledger = rusqlite::Connection::open(world.daemon.paths.ledger()).unwrap();
    let rename = |from: &str, to: &str| {
        let statement = format!("ALTER TABLE {from} RENAME TO {to}");
        ledger.execute_batch(&statement).unwrap();
    };
    rename("containers", "away");
    soon(world.act(action(Verb::Stop))).await.unwrap();
    assert_eq!(world.container("web").state, State::Exited);
    let wanted = |world: &World| {
        let records: Vec<Record> = world.daemon.ledger.all(Table::Containers).unwrap();
        records[0].wanted
    };
    rename("away", "containers");
    assert!(wanted(&world), "not told yet");
    soon(async {
        while wanted(&world) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let happened = world.daemon.ledger.happened("shop", 0).unwrap();
    assert!(happened.iter().any(|happening| happening.action == "stop"));
    // So it stays as it is when the daemon is killed.
    let world = world.restarted().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(world.started().is_empty());
}

/// The end of the last run is not that of the one that was asked for meanwhile.
#[tokio::test]
async fn a_start_during_an_end_is_waited_for() {
    let world = World::new().await;
    let mut slow = service("slow", &["stubborn"], &[]);
    slow.stop_grace_period_ms = Some(500);
    let shop = world.stack(vec![slow]);
    world.up(&shop).await.unwrap();
    let handle = world.daemon.handles(Some("shop")).remove(0);
    for _ in 0..5 {
        handle.stop(None);
        world.until("slow", |c| c.state == State::Stopping).await;
        soon(stack_runtime::stack::started(&handle)).await.unwrap();
        assert_eq!(world.container("slow").state, State::Running);
    }
}
