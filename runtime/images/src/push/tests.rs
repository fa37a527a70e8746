//! Pushes to a registry on loopback, and pulls of what arrived.

use std::path::Path;

use super::*;
use crate::Store;
use crate::testing::{Archive, TestImage, TestRegistry};

fn image() -> TestImage {
    let (a, b) = (
        Archive::new().file("a", b"1"),
        Archive::new().file("b", &[7; 100_000]),
    );
    TestImage::new(&[a.finish(), b.finish()])
}

async fn store(dir: &Path) -> Store {
    Store::open(&dir.join("store")).unwrap()
}

async fn push(store: &Store, name: &str) -> Result<String, Error> {
    store.push(name, &PullOptions::default(), |_| {}).await
}

#[tokio::test]
async fn what_is_there_is_not_sent_and_the_digest_stays() {
    let registry = TestRegistry::start().await;
    let image = image();
    registry.add("1", &image);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let (from, to) = (registry.reference("x:1"), registry.reference("y:2"));
    let options = PullOptions::default();
    store.pull(&from, &options, |_| {}).await.unwrap();
    store.tag(&from, &to).await.unwrap();
    let digest = push(&store, &to).await.unwrap();
    assert_eq!(digest, image.digest().to_string());
    assert_eq!(registry.taken("PATCH"), 0);
}

#[tokio::test]
async fn what_an_image_claims_of_a_layer_is_not_passed_on() {
    let registry = TestRegistry::start().await;
    let content = Archive::new().file("a", b"1").finish();
    let good = TestImage::new(std::slice::from_ref(&content));
    // The same content, as it says, of another blob.
    let blob = crate::testing::gzip(&Archive::new().file("evil", b"1").finish());
    let host = crate::platform::Platform::host().architecture;
    let labels = json!({"Labels": {"x": "y"}});
    let bad = TestImage::with(vec![blob.clone()], good.diff_ids.clone(), &host, labels);
    registry.add("good", &good);
    registry.add("bad", &bad);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let options = PullOptions::default();
    let name = registry.reference("x:good");
    store.pull(&name, &options, |_| {}).await.unwrap();
    // Its name comes before the other's.
    let bad = registry.reference("a:bad");
    store.pull(&bad, &options, |_| {}).await.unwrap();
    let to = registry.reference("y:2");
    store.tag(&name, &to).await.unwrap();
    assert_eq!(push(&store, &to).await.unwrap(), good.digest().to_string());
    // Under its own name it is what it says, and its layer is made.
    let digest = push(&store, &bad).await.unwrap();
    let fresh = Store::open(&dir.path().join("fresh")).unwrap();
    fresh.pull(&bad, &options, |_| {}).await.unwrap();
    let pulled = Record::load(fresh.root(), &bad).unwrap().unwrap();
    assert_eq!(pulled.digest.to_string(), digest);
    let manifest = pulled.origin.manifest.unwrap();
    assert!(!manifest.contains(Digest::of(&blob).hex()), "{manifest}");
}

#[tokio::test]
async fn what_is_not_there_is_made_again_and_arrives_whole() {
    let (one, other) = (TestRegistry::start().await, TestRegistry::start().await);
    let image = image();
    one.add("1", &image);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let (from, to) = (one.reference("x:1"), other.reference("y:2"));
    let options = PullOptions::default();
    let before = store.pull(&from, &options, |_| {}).await.unwrap();
    store.tag(&from, &to).await.unwrap();
    push(&store, &to).await.unwrap();
    assert!(other.taken("P") > 0);
    let elsewhere = tempfile::tempdir().unwrap();
    let fresh = Store::open(elsewhere.path()).unwrap();
    let after = fresh.pull(&to, &options, |_| {}).await.unwrap();
    assert_eq!(after.id, before.id);
    assert_eq!(after.layers.len(), 2);
    // Nothing of it is sent a second time.
    let sent = other.taken("PATCH");
    let digest = push(&store, &to).await.unwrap();
    assert_eq!(other.taken("PATCH"), sent);
    assert_eq!(after.digest, digest);
}

#[tokio::test]
async fn a_name_that_has_changed_meanwhile_stays_changed() {
    let registry = TestRegistry::start().await;
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let name = registry.reference("x:1");
    registry.add("1", &image());
    let options = PullOptions::default();
    store.pull(&name, &options, |_| {}).await.unwrap();
    let there = Record::load(store.root(), &name).unwrap().unwrap();
    let digest = Digest::of(b"other");
    let note = |id: Digest| {
        let pushed = Record {
            id,
            ..there.clone()
        };
        let known = ("{}".to_owned(), ("h".to_owned(), "r".to_owned()));
        store.note_push(&pushed, &digest, known).unwrap();
        Record::load(store.root(), &name).unwrap()
    };
    let after = note(Digest::of(b"another")).unwrap();
    assert_eq!(after.digest, there.digest);
    assert_eq!(note(there.id.clone()).unwrap().digest, digest);
    assert!(Record::remove(store.root(), &name).unwrap());
    assert!(note(there.id.clone()).is_none());
}

#[tokio::test]
async fn refusals_name_the_registry_and_the_remedy() {
    let registry = TestRegistry::start().await;
    registry.set(crate::testing::Faults {
        basic: Some("x".to_owned()),
        ..Default::default()
    });
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let to = registry.reference("y:2");
    let error = push(&store, &to).await.unwrap_err();
    assert_eq!(error.code(), "image_not_found");
    let error = push(&store, "x@sha256:1").await.unwrap_err();
    assert_eq!(error.code(), "bad_reference");
}
