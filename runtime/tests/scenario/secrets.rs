//! Where the contents of secrets are, and when they are gone.

use std::path::Path;

use sha2::{Digest, Sha256};
use stack_api::history::Definition;
use stack_api::request::Down;
use stack_api::spec::{FileSpec, StackSpec};

use crate::world::{World, service};

/// Fourteen bytes, so that base64 has a whole number of groups before the last two.
const SECRET: &str = "hush-5f1c0a-77";

/// It is in a secret, in a config, and in the hash of both.
fn shop(world: &World, content: &str) -> StackSpec {
    let mut web = service("web", &["serve"], &[]);
    web.config_hash = hash(content);
    for (source, content) in [
        ("secrets.word", content.to_owned()),
        ("configs.app", format!("word: {content}")),
    ] {
        web.files.push(FileSpec {
            source: source.to_owned(),
            target: format!("/run/{source}"),
            content: content.into_bytes(),
            mode: 0o444,
            uid: 0,
            gid: 0,
        });
    }
    world.stack(vec![web])
}

/// As anyone can compute it who guesses the content.
fn hash(content: &str) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an earlier version left: a plain digest of the secret, and the config.
fn earlier(definition: &mut Definition, known: &StackSpec, secrets_forgotten: bool) {
    definition.spec = known.clone();
    definition.keyed = false;
    definition.secrets_forgotten = secrets_forgotten;
    let web = definition.spec.services.get_mut("web").unwrap();
    let secret = &mut web.files[0];
    if secrets_forgotten {
        secret.content = [b"sha256:", &Sha256::digest(&secret.content)[..]].concat();
    }
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
    holders_of(dir, &forms(secret))
}

fn holders_of(dir: &Path, forms: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(holders_of(&path, forms));
        } else if kind.is_file() && entry.metadata().unwrap().len() < 1 << 30 {
            let bytes = std::fs::read(&path).unwrap();
            let has = |form: &Vec<u8>| bytes.windows(form.len()).any(|part| part == form);
            if forms.iter().any(has) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Files that have its SHA-256.
fn digests(dir: &Path, secret: &str) -> Vec<String> {
    let digest = Sha256::digest(secret);
    let numbers: Vec<String> = digest.iter().map(u8::to_string).collect();
    holders_of(dir, &[numbers.join(",").into_bytes()])
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
    // Nor anything that a guess could be tried against.
    for plain in [SECRET, "another one"] {
        assert_eq!(holders(&data, &hash(plain)), [""; 0]);
        assert_eq!(digests(&data, plain), [""; 0]);
    }
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

#[tokio::test]
async fn a_daemon_that_comes_back_knows_them_as_well() {
    let world = World::new().await;
    let (first, second) = (shop(&world, SECRET), shop(&world, "another one"));
    world.up(&first).await.unwrap();
    world.up(&second).await.unwrap();
    world.down(Down::default()).await.unwrap();
    let world = world.restarted().await;
    world.up(&second).await.unwrap();
    assert_eq!(world.history().len(), 2);
    assert_eq!(
        world.rollback(None).await.unwrap_err().code,
        "secret_forgotten"
    );
    world.up(&first).await.unwrap();
    world.down(Down::default()).await.unwrap();
    world.up(&first).await.unwrap();
    assert_eq!(world.history().len(), 3);
    // The way back brings the hash that the file would give.
    world.up(&second).await.unwrap();
    world.rollback(Some(3)).await.unwrap();
    assert_eq!(world.record("web").container.config_hash, hash(SECRET));
}

#[tokio::test]
async fn what_earlier_versions_kept_is_brought_up_to_date() {
    for (secrets_forgotten, is_down) in [(true, true), (true, false), (false, true)] {
        let world = World::new().await;
        let spec = shop(&world, SECRET);
        world.up(&spec).await.unwrap();
        if is_down {
            world.down(Down::default()).await.unwrap();
        }
        let ledger = &world.daemon.ledger;
        let mut definition = ledger.history::<Definition>("shop").unwrap().remove(0);
        earlier(&mut definition, &spec, secrets_forgotten);
        ledger.shorten_history("shop", 1, &definition).unwrap();
        let data = world.daemon.paths.data.clone();
        std::fs::remove_file(world.daemon.paths.key()).unwrap();

        let world = world.restarted().await;
        assert_eq!(digests(&data, SECRET), [""; 0]);
        if is_down {
            assert_eq!(holders(&data, SECRET), [""; 0]);
            assert_eq!(holders(&data, &hash(SECRET)), [""; 0]);
        }
        // It is the same one all the same.
        world.up(&spec).await.unwrap();
        assert_eq!(world.history(), ["* 1 up: web: new"], "{secrets_forgotten}");
    }
}
