//! Operations that wait for each other, and wishes that do not.

use std::sync::Arc;
use std::time::Duration;

use stack_api::container::State;
use stack_api::event::Event;
use stack_api::hook::{Hook, PreStart};
use stack_api::request::{Action, Down, Verb};
use stack_runtime::container::{Handle, Wish};
use stack_runtime::progress::Progress;
use stack_runtime::stack;

use crate::world::{World, service};

/// Less than anything here would take that waits for what never ends.
const SOON: Duration = Duration::from_secs(20);

/// What must not wait for anything that does not end.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(SOON, what).await;
    done.expect("it waits for what does not end")
}

/// A verb for all services.
pub(crate) fn action(verb: Verb) -> Action {
    Action {
        verb,
        ..Action::default()
    }
}

fn only(world: &World) -> Arc<Handle> {
    world.daemon.handles(Some("shop")).remove(0)
}

#[tokio::test]
async fn a_hook_that_does_not_end_keeps_the_stack_only_while_somebody_waits() {
    let world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.hooks.pre_start = vec![PreStart {
        hook: Hook {
            command: vec!["serve".to_owned()],
            ..Hook::default()
        },
        ..PreStart::default()
    }];
    let shop = world.stack(vec![web]);
    let up = tokio::time::timeout(Duration::from_secs(1), world.up(&shop)).await;
    assert!(up.is_err(), "{up:?}");
    assert_eq!(world.started(), ["shop-web-pre_start-0"]);
    soon(world.down(Down::default())).await.unwrap();
    assert!(world.containers().is_empty());
}

#[tokio::test]
async fn kill_does_not_wait_for_a_stop() {
    let world = World::new().await;
    let mut slow = service("slow", &["stubborn"], &[]);
    slow.stop_grace_period_ms = Some(3_600_000);
    world.up(&world.stack(vec![slow])).await.unwrap();
    let mut stop = Box::pin(world.act(action(Verb::Stop)));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut stop).await;
    assert!(early.is_err(), "{early:?}");
    // Whoever waits is told.
    let (progress, mut events) = Progress::new();
    let (daemon, request) = (Arc::clone(&world.daemon), Down::default());
    let mut down = Box::pin(stack::down(daemon, "shop".to_owned(), request, progress));
    let told = tokio::select! {
        _ = &mut down => panic!("the stop has the lock"),
        event = soon(events.recv()) => event,
    };
    let Some(Event::Warning { message }) = told else {
        panic!("{told:?}");
    };
    assert!(
        message.contains("another operation on stack shop"),
        "{message}"
    );
    drop(down);
    soon(world.act(action(Verb::Kill))).await.unwrap();
    soon(stop).await.unwrap();
    assert_eq!(world.container("slow").state, State::Exited);
}

#[tokio::test]
async fn who_stops_at_once_does_not_wait_for_a_stop_either() {
    let world = World::new().await;
    let mut slow = service("slow", &["stubborn"], &[]);
    slow.stop_grace_period_ms = Some(3_600_000);
    let shop = world.stack(vec![slow]);
    world.up(&shop).await.unwrap();
    let at_once = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let stop = Action {
            timeout: Some(0),
            ..action(Verb::Stop)
        };
        world.act(stop).await
    };
    let (first, second) =
        soon(async { tokio::join!(world.act(action(Verb::Stop)), at_once) }).await;
    first.and(second).unwrap();
    world.up(&shop).await.unwrap();
    let at_once = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let down = Down {
            timeout: Some(0),
            ..Down::default()
        };
        world.down(down).await
    };
    let (first, second) =
        soon(async { tokio::join!(world.act(action(Verb::Stop)), at_once) }).await;
    first.and(second).unwrap();
    assert!(world.containers().is_empty());
}

#[tokio::test]
async fn a_start_is_called_off_while_the_guest_is_set_up() {
    let world = World::new().await;
    let mut deaf = service("deaf", &["deaf"], &[]);
    deaf.stop_grace_period_ms = Some(300);
    let shop = world.stack(vec![deaf]);
    let up = tokio::time::timeout(Duration::from_secs(1), world.up(&shop)).await;
    assert!(up.is_err(), "{up:?}");
    soon(world.act(action(Verb::Stop))).await.unwrap();
    let container = world.container("deaf");
    assert_eq!((container.state, container.error), (State::Created, None));
}

#[tokio::test]
async fn no_start_is_the_same_wish_as_one_before() {
    let world = World::new().await;
    world
        .up(&world.stack(vec![service("web", &["stubborn"], &[])]))
        .await
        .unwrap();
    let handle = only(&world);
    let first = handle.wish.borrow().clone();
    handle.stop(Some(200));
    world.until("web", |c| c.state == State::Stopping).await;
    // It comes while the service ends.
    handle.start();
    assert_ne!(*handle.wish.borrow(), first);
    let boot = world.container("web").boot_id;
    world
        .until("web", |c| c.state == State::Running && c.boot_id != boot)
        .await;
    // A daemon that is killed now has to know it.
    assert!(handle.record().wanted);
}

#[tokio::test]
async fn a_daemon_that_comes_in_the_middle_of_a_stop_goes_on_with_it() {
    let world = World::new().await;
    let mut db = service("db", &["stubborn"], &[]);
    db.stop_signal = Some("SIGINT".to_owned());
    db.stop_grace_period_ms = Some(60_000);
    world.up(&world.stack(vec![db])).await.unwrap();
    let wish = |record| {
        let ledger = Arc::clone(&world.daemon.ledger);
        Handle::new(record, ledger).wish.borrow().clone()
    };
    let stop = |grace_ms| Wish::Stop {
        signal: libc::SIGINT,
        grace_ms,
    };
    let handle = only(&world);
    handle.stop(None);
    assert_eq!(wish(handle.record()), stop(60_000));
    handle.stop(Some(90_000));
    assert_eq!(wish(handle.record()), stop(90_000));
    handle.start();
    handle.stop(Some(0));
    assert_eq!(wish(handle.record()), stop(0));
}

#[tokio::test]
async fn what_is_paused_is_not_waited_for() {
    let world = World::new().await;
    let shop = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    world.act(action(Verb::Pause)).await.unwrap();
    for result in [
        soon(world.up(&shop)).await,
        soon(world.act(action(Verb::Start))).await,
    ] {
        let error = result.unwrap_err();
        assert!(error.message.contains("shop-web-1 is paused"), "{error}");
        assert!(error.help.unwrap().contains("stack unpause web"));
    }
    world.act(action(Verb::Unpause)).await.unwrap();
    soon(world.up(&shop)).await.unwrap();
    assert_eq!(world.container("web").state, State::Running);
}
