//! Where the contents of secrets are, and when they are gone.

use std::path::Path;

use stack_api::request::Down;
use stack_api::spec::{FileSpec, StackSpec};

use crate::world::{World, service};

/// Fourteen bytes, so that base64 has a whole number of groups before the last two.
const SECRET: &str = "hush-5f1c0a-77";

fn shop(world: &World, content: &str) -> StackSpec {
    let mut web = service("web", &["serve"], &[]);
    web.config_hash = format!("of {}", content.len());
    web.files.push(FileSpec {
        source: "secrets.word".to_owned(),
        target: "/run/secrets/word".to_owned(),
        content: content.as_bytes().to_vec(),
        mode: 0o444,
        uid: 0,
        gid: 0,
    });
    world.stack(vec![web])
}

/// The forms in which it might be written.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let numbers: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    [
        secret.to_owned(),
        numbers.join(","),
        numbers.join(", "),
        hex.to_uppercase(),
        hex,
        // `base64` of its first twelve bytes: how it goes on depends on what follows.
        "aHVzaC01ZjFjMGEt".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// Files below a directory that have it.
fn holders(dir: &Path, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(holders(&path, secret));
        } else if kind.is_file() && entry.metadata().unwrap().len() < 1 << 30 {
            let bytes = std::fs::read(&path).unwrap();
            let has = |form: &Vec<u8>| bytes.windows(form.len()).any(|part| part == form);
            if forms(secret).iter().any(has) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test]
async fn no_file_has_them_once_the_stack_is_down() {
    let world = World::new().await;
    world.up(&shop(&world, SECRET)).await.unwrap();
    let data = world.daemon.paths.data.clone();
    // For its restart policy, and for `rollback`.
    assert!(!holders(&data, SECRET).is_empty());
    world.up(&shop(&world, "another one")).await.unwrap();
    world.down(Down::default()).await.unwrap();
    assert_eq!(holders(&data, SECRET), [""; 0]);
    assert_eq!(holders(&data, "another one"), [""; 0]);
    assert_eq!(world.history().len(), 2);
}

#[tokio::test]
async fn what_comes_again_is_known_again() {
    let world = World::new().await;
    let first = shop(&world, SECRET);
    world.up(&first).await.unwrap();
    world.down(Down::default()).await.unwrap();
    let error = world.rollback(None).await.unwrap_err();
    assert_eq!(error.code, "secret_forgotten", "{error}");
    // The same definition is the same entry.
    world.up(&first).await.unwrap();
    assert_eq!(world.history(), ["* 1 up: web: new"]);
    world.up(&shop(&world, "another one")).await.unwrap();
    let history = world.history();
    assert_eq!(history.len(), 2, "{history:?}");
    assert!(history[1].contains("secrets.word"), "{history:?}");
    world.rollback(None).await.unwrap();
    let record = world.record("web");
    assert_eq!(record.spec.files[0].content, SECRET.as_bytes());
}
