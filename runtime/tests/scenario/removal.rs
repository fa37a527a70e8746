//! What goes with a stack, what stays, and what is left when the ledger refuses.

use std::sync::Arc;
use std::time::Duration;

use stack_api::container::State;
use stack_api::event::Event;
use stack_api::image::Filter;
use stack_api::request::Down;
use stack_api::spec::{
    Condition, MountSource, MountSpec, NetworkSpec, ServiceSpec, StackSpec, VolumeSpec,
};
use stack_api::system::Prune;
use stack_runtime::container::Wish;
use stack_runtime::progress::Progress;
use stack_runtime::volume::Volume;
use stack_runtime::{space, stack};

use crate::locks::soon;
use crate::world::{World, depends, service};

/// A service with volumes, by their keys; "" is one without a name.
pub(crate) fn mounting(name: &str, volumes: &[&str]) -> ServiceSpec {
    let mut service = service(name, &["serve"], &[]);
    for (n, volume) in volumes.iter().enumerate() {
        service.mounts.push(MountSpec {
            target: format!("/data{n}"),
            source: match *volume {
                "" => MountSource::Anonymous { nocopy: false },
                key => MountSource::Volume {
                    volume: key.to_owned(),
                    nocopy: false,
                    subpath: None,
                },
            },
            read_only: false,
        });
    }
    service
}

/// The stack, whose volumes have their keys as names.
pub(crate) fn with_volumes(mut stack: StackSpec, names: &[&str], external: bool) -> StackSpec {
    for name in names {
        let volume = VolumeSpec {
            name: (*name).to_owned(),
            external,
            ..VolumeSpec::default()
        };
        stack.volumes.insert((*name).to_owned(), volume);
    }
    stack
}

/// `down -v` with a file that has these services and own volumes.
pub(crate) fn with_file(services: &[&str], volumes: &[&str]) -> Down {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Down {
        volumes: true,
        volumes_known: Some(owned(volumes)),
        services_known: owned(services),
        timeout: Some(0),
        ..Down::default()
    }
}

/// `down -v -p NAME`.
fn without_file() -> Down {
    Down {
        volumes: true,
        timeout: Some(0),
        ..Down::default()
    }
}

#[tokio::test]
async fn a_removal_that_is_cut_off_is_done_or_not_begun() {
    let world = World::new().await;
    let stack = world.stack(vec![service("web", &["serve"], &[])]);
    world.up(&stack).await.unwrap();
    let mut removing = Box::pin(world.down(without_file()));
    let handle = world.daemon.handles(Some("shop")).remove(0);
    let mut wish = handle.wish.subscribe();
    // The client goes right behind the point of no return.
    tokio::select! {
        biased;
        _ = wish.wait_for(|wish| *wish == Wish::Gone) => {}
        _ = &mut removing => {}
    }
    drop(removing);
    for _ in 0..1000 {
        if world.containers().is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nobody drives {:?}", world.containers());
}

/// Takes a stack down; gives the warnings.
pub(crate) async fn down(world: &World, name: &str, request: Down) -> Vec<String> {
    let (progress, mut events) = Progress::new();
    let daemon = Arc::clone(&world.daemon);
    stack::down(daemon, name.to_owned(), request, progress)
        .await
        .unwrap();
    let mut warnings = Vec::new();
    while let Some(event) = events.recv().await {
        if let Event::Warning { message } = event {
            warnings.push(message);
        }
    }
    warnings
}

/// Names of the volumes that are known and there.
fn volumes(world: &World) -> Vec<String> {
    let mut volumes = world.daemon.volumes().unwrap();
    volumes.retain(|volume| volume.path.exists());
    let mut names: Vec<String> = volumes.into_iter().map(|volume| volume.name).collect();
    names.sort();
    names
}

/// Has the ledger do something behind the daemon's back.
pub(crate) fn ledger(world: &World, statement: &str) {
    let db = rusqlite::Connection::open(world.daemon.paths.ledger()).unwrap();
    db.execute_batch(statement).unwrap();
}

/// The ledger refuses this, as on a full disk.
fn refuse(world: &World, what: &str) {
    let refuse =
        format!("CREATE TRIGGER refuse BEFORE {what} BEGIN SELECT RAISE(FAIL, 'it is full'); END");
    ledger(world, &refuse);
}

/// The ledger takes no new containers: only then is it known that one cannot be made.
pub(crate) fn refuse_new_containers(world: &World) {
    let new = "INSERT ON containers WHEN NEW.id NOT IN (SELECT id FROM containers)";
    refuse(world, new);
}

#[tokio::test]
async fn a_volume_that_another_stack_uses_stays() {
    let world = World::new().await;
    let shop = world.stack(vec![mounting("web", &["shared"])]);
    world
        .up(&with_volumes(shop, &["shared"], false))
        .await
        .unwrap();
    let other = world.stack(vec![mounting("copy", &["shared"])]);
    let mut other = with_volumes(other, &["shared"], true);
    other.name = "other".to_owned();
    if let Some(network) = other.networks.get_mut("default") {
        network.name = "other_default".to_owned();
    }
    world.up(&other).await.unwrap();
    let warnings = down(&world, "shop", with_file(&["web"], &["shared"])).await;
    assert_eq!(
        warnings,
        ["volume shared stays: it is used by other-copy-1"]
    );
    assert!(world.containers().is_empty());
    assert_eq!(volumes(&world), ["shared"]);
    // It is not the other one's to remove.
    down(&world, "other", with_file(&["copy"], &[])).await;
    assert_eq!(volumes(&world), ["shared"]);
    down(&world, "shop", with_file(&["web"], &["shared"])).await;
    assert!(volumes(&world).is_empty());
}

/// A registry that does not answer.
async fn silent_registry() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let image = format!("{}/x:1", listener.local_addr().unwrap());
    (listener, image)
}

#[tokio::test]
async fn a_volume_that_an_up_is_about_to_mount_stays() {
    let world = World::new().await;
    let shop = world.stack(vec![mounting("web", &["shared"])]);
    world
        .up(&with_volumes(shop, &["shared"], false))
        .await
        .unwrap();
    let (_listener, image) = silent_registry().await;
    let mut copy = mounting("copy", &["shared"]);
    copy.image = image;
    let mut other = with_volumes(world.stack(vec![copy]), &["shared"], true);
    other.name = "other".to_owned();
    let meanwhile = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        down(&world, "shop", with_file(&["web"], &["shared"])).await
    };
    let warnings = tokio::select! {
        up = world.up(&other) => panic!("it waits for the registry: {up:?}"),
        warnings = meanwhile => warnings,
    };
    assert_eq!(
        warnings,
        ["volume shared stays: it is used by an operation on stack other"]
    );
    assert_eq!(volumes(&world), ["shared"]);
}

#[tokio::test]
async fn a_volume_whose_name_begins_like_an_id_is_not_swept() {
    let world = World::new().await;
    let name = format!("{}.bak", "a".repeat(64));
    let shop = world.stack(vec![mounting("web", &[&name])]);
    let shop = with_volumes(shop, &[&name], false);
    world.up(&shop).await.unwrap();
    let world = world.restarted().await;
    assert_eq!(volumes(&world), [name]);
}

#[tokio::test]
async fn the_file_says_which_volumes_go() {
    let world = World::new().await;
    let shop = world.stack(vec![mounting("web", &["a", "b", "c", ""])]);
    let shop = with_volumes(shop, &["a", "b", "c"], false);
    world.up(&shop).await.unwrap();
    assert_eq!(volumes(&world).len(), 4);
    // Meanwhile `b` was made external, and `c` was taken out.
    let request = with_file(&["web"], &["a"]);
    assert!(down(&world, "shop", request).await.is_empty());
    assert_eq!(volumes(&world), ["b", "c"]);
    assert_eq!(world.files("data/volumes").len(), 2);
    // Without a file all go that are the stack's, but for what was external.
    world.up(&with_volumes(shop, &["c"], true)).await.unwrap();
    assert_eq!(volumes(&world).len(), 4);
    down(&world, "shop", without_file()).await;
    assert_eq!(volumes(&world), ["c"]);
}

#[tokio::test]
async fn an_orphan_keeps_only_what_it_uses() {
    let world = World::new().await;
    let mut old = mounting("old", &["old"]);
    old.networks = [("back".to_owned(), Default::default())].into();
    let mut shop = with_volumes(
        world.stack(vec![mounting("web", &["new"]), old]),
        &["new", "old"],
        false,
    );
    let back = NetworkSpec {
        name: "shop_back".to_owned(),
        ..NetworkSpec::default()
    };
    shop.networks.insert("back".to_owned(), back);
    world.up(&shop).await.unwrap();
    let networks = || {
        let networks = world.daemon.networks("shop").unwrap();
        let names = networks.into_iter().map(|network| network.name);
        names.collect::<Vec<_>>()
    };
    let warnings = down(&world, "shop", with_file(&["web"], &["new", "old"])).await;
    let orphans = &warnings[0];
    assert!(
        orphans.contains("shop-old-1") && orphans.contains("--remove-orphans"),
        "{orphans}"
    );
    assert!(warnings.contains(&"volume old stays: it is used by shop-old-1".to_owned()));
    assert_eq!(volumes(&world), ["old"]);
    assert_eq!(networks(), ["shop_back"]);
    assert_eq!(world.container("old").state, State::Running);
    let all = Down {
        remove_orphans: true,
        ..with_file(&["web"], &["new", "old"])
    };
    assert!(down(&world, "shop", all).await.is_empty());
    assert!(volumes(&world).is_empty() && networks().is_empty());
}

#[tokio::test]
async fn a_container_that_cannot_be_forgotten_can_be_started() {
    let world = World::new().await;
    let shop = world.stack(vec![mounting("web", &[""])]);
    world.up(&shop).await.unwrap();
    let before = (world.container("web").id, volumes(&world));
    refuse(&world, "DELETE ON containers");
    let error = world.down(without_file()).await.unwrap_err();
    assert!(error.message.contains("it is full"), "{error}");
    let container = world.container("web");
    assert_eq!(container.state, State::Exited);
    assert_eq!((container.id, volumes(&world)), before);
    world.up(&shop).await.unwrap();
    assert_eq!(world.container("web").state, State::Running);
    ledger(&world, "DROP TRIGGER refuse");
    // A volume that cannot be forgotten keeps its data.
    refuse(&world, "DELETE ON volumes");
    world.down(without_file()).await.unwrap_err();
    assert!(world.containers().is_empty());
    assert_eq!(volumes(&world), before.1);
    ledger(&world, "DROP TRIGGER refuse");
    world.down(without_file()).await.unwrap();
    assert!(volumes(&world).is_empty());
}

#[tokio::test]
async fn what_cannot_be_pruned_keeps_nothing_else() {
    let world = World::new().await;
    let shop = world.stack(vec![service("web", &["exit", "0"], &[])]);
    world.up(&shop).await.unwrap();
    world.until("web", |c| c.state == State::Exited).await;
    let template = world.daemon.paths.cache.join("templates/one");
    std::fs::create_dir_all(template.parent().unwrap()).unwrap();
    std::fs::write(&template, "").unwrap();
    refuse(&world, "DELETE ON containers");
    let all = Prune {
        all: true,
        ..Prune::default()
    };
    let error = space::prune(&world.daemon, &all).await.unwrap_err();
    assert!(error.message.contains("it is full"), "{error}");
    assert!(!template.exists());
    ledger(&world, "DROP TRIGGER refuse");
    let pruned = space::prune(&world.daemon, &all).await.unwrap();
    assert!(pruned.items.iter().any(|item| item.name == "shop-web-1"));
}

#[tokio::test]
async fn what_a_prune_would_take_is_what_it_takes() {
    let world = World::new().await;
    let mut web = mounting("web", &["", "a"]);
    web.labels = [("keep".to_owned(), String::new())].into();
    let shop = with_volumes(world.stack(vec![web]), &["a"], false);
    world.up(&shop).await.unwrap();
    let handle = world.daemon.handles(None).remove(0);
    handle.stop(Some(0));
    handle.stopped().await;
    let prune = async |filter: Filter, dry_run| {
        let order = Prune {
            volumes: true,
            filter,
            dry_run,
            ..Prune::default()
        };
        let pruned = space::prune(&world.daemon, &order).await?;
        let items = pruned.items.into_iter();
        let items = items.filter(|item| ["container", "volume"].contains(&item.kind.as_str()));
        Ok::<_, stack_api::event::ApiError>(items.map(|item| item.name).collect::<Vec<_>>())
    };
    // A volume has no age to go by, and this one none of the labels.
    let until = Filter {
        until_ms: Some(1),
        ..Filter::default()
    };
    let error = prune(until, true).await.unwrap_err();
    assert_eq!(error.code, "bad_request");
    let labelled = Filter {
        labels: vec!["keep".to_owned()],
        ..Filter::default()
    };
    assert_eq!(prune(labelled, true).await.unwrap(), ["shop-web-1"]);
    let shown = prune(Filter::default(), true).await.unwrap();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert_eq!(volumes(&world).len(), 2);
    assert_eq!(prune(Filter::default(), false).await.unwrap(), shown);
    assert_eq!(volumes(&world), ["a"]);
}

#[tokio::test]
async fn a_volume_that_is_there_has_the_labels_of_the_file() {
    let world = World::new().await;
    let labelled = |shop: &StackSpec, label: &str| {
        let mut shop = shop.clone();
        for volume in shop.volumes.values_mut() {
            volume.labels = [("keep".to_owned(), label.to_owned())].into();
        }
        shop
    };
    let labels = || {
        let mut volumes = world.daemon.volumes().unwrap();
        volumes.sort_by(|one, other| one.name.cmp(&other.name));
        let label = |v: &Volume| v.labels.get("keep").cloned().unwrap_or_default();
        volumes.iter().map(label).collect::<Vec<_>>()
    };
    let shop = world.stack(vec![mounting("web", &["mine"])]);
    let shop = with_volumes(shop, &["mine"], false);
    world.up(&shop).await.unwrap();
    let mut other = world.stack(vec![mounting("db", &["theirs"])]);
    other.name = "other".to_owned();
    other = with_volumes(other, &["theirs"], false);
    other.networks.get_mut("default").unwrap().name = "other_default".to_owned();
    world.up(&other).await.unwrap();
    assert_eq!(labels(), ["", ""]);
    // Nothing else has changed, and another stack's volume stays as it is.
    let external = labelled(&with_volumes(shop.clone(), &["theirs"], true), "yes");
    let before = world.container("web").id;
    world.up(&external).await.unwrap();
    assert_eq!(labels(), ["yes", ""]);
    let taken = with_volumes(shop.clone(), &["theirs"], false);
    world.up(&labelled(&taken, "all")).await.unwrap();
    assert_eq!(labels(), ["all", ""]);
    world.up(&shop).await.unwrap();
    assert_eq!(labels(), ["", ""]);
    world.rollback(None).await.unwrap();
    assert_eq!(labels(), ["all", ""]);
    assert_eq!(world.container("web").id, before);
}

#[tokio::test]
async fn a_volume_that_no_container_takes_over_waits_for_none() {
    let world = World::new().await;
    let prune = async || {
        let order = Prune {
            volumes: true,
            ..Prune::default()
        };
        let pruned = space::prune(&world.daemon, &order).await.unwrap();
        let volumes = pruned
            .items
            .into_iter()
            .filter(|item| item.kind == "volume");
        volumes.count()
    };
    let mut shop = world.stack(vec![mounting("web", &[""])]);
    world.up(&shop).await.unwrap();
    let changed = |shop: &mut StackSpec, hash: &str| {
        let web = shop.services.get_mut("web").unwrap();
        hash.clone_into(&mut web.config_hash);
        web.environment.insert("X".to_owned(), hash.to_owned());
    };
    // Its container did not come about, and may yet.
    changed(&mut shop, "second");
    refuse_new_containers(&world);
    world.up(&shop).await.unwrap_err();
    ledger(&world, "DROP TRIGGER refuse");
    assert_eq!((prune().await, volumes(&world).len()), (0, 1));
    world.up(&shop).await.unwrap();
    assert_eq!(volumes(&world).len(), 1);
    // The next one has nothing at that place.
    changed(&mut shop, "third");
    shop.services.get_mut("web").unwrap().mounts.clear();
    world.up(&shop).await.unwrap();
    assert_eq!((prune().await, volumes(&world).len()), (1, 0));
    // There will be no next one.
    let mut shop = world.stack(vec![mounting("web", &[""])]);
    changed(&mut shop, "fourth");
    world.up(&shop).await.unwrap();
    changed(&mut shop, "fifth");
    refuse_new_containers(&world);
    world.up(&shop).await.unwrap_err();
    ledger(&world, "DROP TRIGGER refuse");
    let without = world.stack(vec![service("other", &["serve"], &[])]);
    world.up(&without).await.unwrap();
    assert_eq!((prune().await, volumes(&world).len()), (1, 0));
}

#[tokio::test]
async fn a_volume_that_cannot_be_noted_is_not_left() {
    let world = World::new().await;
    let shop = world.stack(vec![mounting("web", &["a", ""])]);
    let shop = with_volumes(shop, &["a"], false);
    refuse(&world, "INSERT ON volumes");
    world.up(&shop).await.unwrap_err();
    assert_eq!(world.files("data/volumes"), Vec::<String>::new());
}

#[tokio::test]
async fn what_an_unreadable_record_tells_of_is_not_swept() {
    let world = World::new().await;
    let shop = world.stack(vec![mounting("web", &[""]), service("db", &["serve"], &[])]);
    world.up(&shop).await.unwrap();
    for handle in world.daemon.handles(None) {
        handle.stop(Some(0));
        handle.stopped().await;
    }
    let left = "f".repeat(64);
    for file in [
        format!("disks/{left}.ext4"),
        format!("volumes/{left}.ext4"),
        format!("logs/{left}.log"),
    ] {
        std::fs::write(world.daemon.paths.data.join(file), "").unwrap();
    }
    let of = |world: &World, dir: &str| {
        let mut files = world.files(&format!("data/{dir}"));
        files.sort();
        files
    };
    let dirs = ["disks", "volumes", "logs", "images/layers", "images/chains"];
    let id = world.container("web").id;
    // As a later version would write it.
    ledger(
        &world,
        &format!(
            "UPDATE containers SET record = '{{\"later\": ' || record || '}}' WHERE id = '{id}'"
        ),
    );
    let before = dirs.map(|dir| of(&world, dir));
    assert_eq!(before.clone().map(|files| files.len())[..3], [3, 2, 3]);
    // Nobody but the container needs the image's layers any more.
    world.daemon.images.remove(crate::image::NAME).unwrap();
    let world = world.restarted().await;
    assert_eq!(world.containers().len(), 1);
    assert_eq!(dirs.map(|dir| of(&world, dir)), before);
    ledger(
        &world,
        "UPDATE containers SET record = record ->> '$.later' WHERE record ->> '$.later' NOT NULL",
    );
    let world = world.restarted().await;
    assert_eq!(world.containers().len(), 2);
    for dir in ["disks", "volumes", "logs"] {
        assert!(!of(&world, dir).iter().any(|name| name.contains(&left)));
    }
    assert_eq!(of(&world, "volumes").len(), 1);
}

/// Whenever it is cut off, an `up` right behind it finds things whole, and leaves them so.
#[tokio::test]
async fn a_down_that_is_cut_off_leaves_no_half_of_a_stack() {
    let needs = depends("db", Condition::ServiceStarted);
    let services = || {
        vec![
            service("db", &["serve"], &[]),
            service("web", &["serve"], std::slice::from_ref(&needs)),
        ]
    };
    let mut events_of_all = 0;
    for cut_after in 0.. {
        let world = World::new().await;
        let shop = world.stack(services());
        world.up(&shop).await.unwrap();
        let (progress, mut events) = Progress::new();
        let request = Down {
            volumes: true,
            ..Down::default()
        };
        let daemon = Arc::clone(&world.daemon);
        let down = stack::down(daemon, "shop".to_owned(), request, progress);
        let cut_off = async {
            for _ in 0..cut_after {
                soon(events.recv()).await?;
            }
            Some(())
        };
        let whole = tokio::select! {
            biased;
            done = down => Some(done),
            cut = cut_off => cut.map_or(Some(Ok(())), |()| None),
        };
        drop(events);
        soon(world.up(&shop)).await.unwrap();
        assert_eq!(world.containers().len(), 2, "{cut_after}");
        for name in ["db", "web"] {
            let container = world.container(name);
            assert_eq!(container.state, State::Running, "{cut_after}: {name}");
        }
        assert_eq!(world.daemon.networks("shop").unwrap().len(), 1);
        assert!(
            world
                .daemon
                .ledger
                .stack::<StackSpec>("shop")
                .unwrap()
                .is_some()
        );
        // What was still to come of it is not.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.containers().len(), 2, "{cut_after}");
        if let Some(done) = whole {
            done.unwrap();
            break;
        }
        events_of_all = cut_after;
    }
    assert!(events_of_all >= 5, "{events_of_all}");
}
