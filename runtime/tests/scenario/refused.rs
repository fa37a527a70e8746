//! What cannot be made is told before what it would replace is stopped.

use stack_api::container::State;
use stack_api::spec::{AttachSpec, MountSource, MountSpec, ServiceSpec};

use crate::world::{World, service};

fn bind(path: &std::path::Path, create: bool) -> MountSpec {
    MountSpec {
        target: "/data".to_owned(),
        read_only: false,
        source: MountSource::Bind {
            path: path.to_path_buf(),
            create,
            copy: false,
            subpath: None,
        },
    }
}

/// The code that an `up` with the changed service fails with; the old container is as it was.
async fn refused(world: &World, change: impl FnOnce(&mut ServiceSpec)) -> String {
    let mut shop = world.stack(vec![
        service("db", &["serve"], &[]),
        service("web", &["serve"], &[]),
    ]);
    world.up(&shop).await.unwrap();
    let before = world.containers();
    let web = shop.services.get_mut("web").unwrap();
    web.user = Some("www".to_owned());
    web.config_hash = "other".to_owned();
    change(web);
    let steps = world.plan(&shop);
    assert!(steps[0].starts_with("recreate container"), "{steps:?}");
    let error = world.up(&shop).await.unwrap_err();
    let ids = |containers: &[stack_api::container::Container]| {
        let ids = containers.iter().map(|c| (c.id.clone(), c.state));
        ids.collect::<Vec<_>>()
    };
    let after = world.containers();
    assert_eq!(ids(&before), ids(&after), "{error}");
    assert!(after.iter().all(|c| c.state == State::Running));
    error.code
}

#[tokio::test]
async fn a_source_that_is_not_there_and_cannot_be_made() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = bind(&file.join("data"), true);
    let code = refused(&world, |web| web.mounts = vec![below]).await;
    assert_eq!(code, "bind");
    let mistyped = bind(&dir.path().join("dta"), false);
    let code = refused(&world, |web| web.mounts = vec![mistyped]).await;
    assert_eq!(code, "bind");
}

#[tokio::test]
async fn nothing_to_run() {
    let world = World::new().await;
    let code = refused(&world, |web| web.command = None).await;
    assert_eq!(code, "no_command");
}

#[tokio::test]
async fn a_name_or_an_address_of_one_that_stays() {
    let world = World::new().await;
    let taken = |web: &mut ServiceSpec| web.container_name = Some("shop-db-1".to_owned());
    assert_eq!(refused(&world, taken).await, "name_in_use");
    let place = AttachSpec {
        ipv4: world.record("db").nics[0].ipv4,
        ..AttachSpec::default()
    };
    let taken = |web: &mut ServiceSpec| {
        web.networks.insert("default".to_owned(), place);
    };
    assert_eq!(refused(&world, taken).await, "address_in_use");
}
