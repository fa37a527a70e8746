//! Services of which a request says nothing.

use std::sync::Arc;

use stack_api::event::ApiError;
use stack_api::request::Up;
use stack_api::spec::{NetworkSpec, ServiceSpec, StackSpec};
use stack_runtime::progress::Progress;
use stack_runtime::stack;

use crate::world::{World, service};

/// A service in a network of its own.
fn alone(name: &str) -> ServiceSpec {
    let networks = [(name.to_owned(), Default::default())].into();
    ServiceSpec {
        networks,
        ..service(name, &["serve"], &[])
    }
}

fn with_network(mut stack: StackSpec, key: &str) -> StackSpec {
    let network = NetworkSpec {
        name: format!("shop_{key}"),
        ..NetworkSpec::default()
    };
    stack.networks.insert(key.to_owned(), network);
    stack
}

/// `up --remove-orphans` of `web`, which says nothing of these.
async fn up(world: &World, web: ServiceSpec, unresolved: &[&str]) -> Result<(), ApiError> {
    let spec = StackSpec {
        unresolved: unresolved.iter().map(|name| (*name).to_owned()).collect(),
        ..world.stack(vec![web])
    };
    let (progress, _events) = Progress::new();
    let request = Up {
        spec,
        services: vec!["web".to_owned()],
        remove_orphans: true,
        ..Up::default()
    };
    stack::up(Arc::clone(&world.daemon), request, progress).await
}

#[tokio::test]
async fn they_stay_what_they_are() {
    let world = World::new().await;
    let web = service("web", &["serve"], &[]);
    let shop = with_network(world.stack(vec![web.clone(), alone("logs")]), "logs");
    world.up(&shop).await.unwrap();
    let before = world.container("logs");
    let mut changed = web;
    changed.config_hash = "second".to_owned();
    up(&world, changed.clone(), &["logs", "never"])
        .await
        .unwrap();
    assert_eq!(world.container("logs"), before);
    assert_eq!(world.container("web").config_hash, "second");
    // All of the stack is as it was recorded.
    let recorded: StackSpec = world.daemon.ledger.stack("shop").unwrap().unwrap();
    assert_eq!(recorded.services["logs"], shop.services["logs"]);
    assert!(recorded.networks.contains_key("logs"));
    assert_eq!(recorded.disabled, ["never"]);
    assert!(recorded.unresolved.is_empty());
    assert_eq!(world.history().len(), 2, "{:?}", world.history());
    let whole = with_network(world.stack(vec![changed, alone("logs")]), "logs");
    assert_eq!(world.plan(&whole), [""; 0]);
    world.rollback(None).await.unwrap();
    assert_eq!(world.container("logs"), before);
    assert_eq!(world.container("web").config_hash, "first");
}
