//! Hooks: who is to blame, and what they have not of their service.

use stack_api::container::State;
use stack_api::hook::{Hook, PreStart};
use stack_api::spec::{Restart, SocketSpec, SocketTarget};

use crate::world::{World, service};

fn hook(words: &[&str]) -> Hook {
    Hook {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        ..Hook::default()
    }
}

#[tokio::test]
async fn a_hook_before_the_start_has_no_sockets_and_a_container_to_look_at() {
    let world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.sockets = vec![SocketSpec {
        target: SocketTarget::Port(80),
        path: "/nowhere/web.sock".into(),
    }];
    web.hooks.pre_start = vec![PreStart {
        hook: hook(&["exit", "3"]),
        ..PreStart::default()
    }];
    let error = world.up(&world.stack(vec![web])).await.unwrap_err();
    let name = "shop-web-pre_start-0";
    assert!(error.message.contains("ended with exit code 3"), "{error}");
    assert!(error.message.contains(name), "{error}");
    assert!(error.help.is_some_and(|help| help.contains(name)));
    let handles = world.daemon.handles(Some("shop"));
    let left = handles.iter().find(|h| h.container().name == name).unwrap();
    assert_eq!(left.record().spec.sockets, []);
}

// A made-up VM runs no programs: each of its hooks fails.
#[tokio::test]
async fn a_service_that_ends_during_its_hook_is_started_again() {
    let world = World::new().await;
    let mut web = service("web", &["run", "300", "7"], &[]);
    web.restart = Restart::OnFailure { max: Some(1) };
    web.hooks.post_start = vec![hook(&["warm", "up"])];
    let _ = world.up(&world.stack(vec![web])).await;
    let web = world.until("web", |c| c.state == State::Exited).await;
    assert_eq!((web.exit_code, web.restarts), (Some(7), 1));
}

#[tokio::test]
async fn a_hook_that_fails_beside_its_service_ends_it() {
    let world = World::new().await;
    let mut web = service("web", &["serve"], &[]);
    web.restart = Restart::Always;
    web.hooks.post_start = vec![hook(&["warm", "up"])];
    let error = world.up(&world.stack(vec![web])).await.unwrap_err();
    assert!(
        error.message.contains("the post_start hook `warm up`"),
        "{error}"
    );
    let web = world.container("web");
    assert_eq!((web.state, web.restarts), (State::Dead, 0));
}
