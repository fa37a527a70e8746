//! New layers and configurations, and what of them goes elsewhere.

use std::io::Write;

use super::*;
use crate::erofs::listing;
use crate::testing::{Archive, TestImage, TestRegistry};
use crate::{PullOptions, Store};

async fn with_base(layers: usize) -> (tempfile::TempDir, Store, String) {
    let registry = TestRegistry::start().await;
    let archives: Vec<Vec<u8>> = (0..layers)
        .map(|n| {
            let archive = Archive::new().file(&format!("f{n}"), b"1");
            archive
                .file("same", format!("{n}").repeat(3000).as_bytes())
                .finish()
        })
        .collect();
    registry.add("1", &TestImage::new(&archives));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let name = registry.reference("x:1");
    let options = PullOptions::default();
    store.pull(&name, &options, |_| {}).await.unwrap();
    (dir, store, name)
}

fn order(base: &str, changes: Vec<Change>) -> Commit {
    Commit {
        base: base.to_owned(),
        name: Some("made:1".to_owned()),
        author: "me".to_owned(),
        message: "why".to_owned(),
        created: "2024-01-01T00:00:00Z".to_owned(),
        made_by: "sh".to_owned(),
        changes,
    }
}

fn layer(store: &Store, archive: Archive) -> Spool {
    let mut file = store.spool().unwrap();
    file.write_all(&archive.finish()).unwrap();
    file
}

#[tokio::test]
async fn a_layer_and_a_configuration_are_added() {
    let (dir, store, base) = with_base(2).await;
    let changes = vec![
        Change::Env("A".into(), "2".into()),
        Change::Env("A".into(), "3".into()),
        Change::Label("l".into(), "v".into()),
        Change::Expose("80/tcp".into()),
        Change::Entrypoint(vec!["/e".into()]),
        Change::Cmd(vec!["c".into()]),
        Change::WorkingDir("/w".into()),
        Change::WorkingDir("in".into()),
        Change::User("7".into()),
        Change::Volume("/v".into()),
    ];
    let archive = Archive::new().file("new", b"hello").file(".wh.f0", b"");
    let made = store
        .commit(&order(&base, changes), layer(&store, archive))
        .await
        .unwrap();
    assert_eq!(made.reference, "docker.io/library/made:1");
    let image = store.get("made:1").unwrap().unwrap();
    assert_eq!(image.layers.len(), 3);
    assert!(
        listing(&image.layers[2])
            .iter()
            .any(|l| l.starts_with("/new "))
    );
    let config = &image.config;
    assert_eq!(config.env, ["A=3"]);
    assert_eq!(config.labels["l"], "v");
    assert_eq!(config.exposed_ports, ["80/tcp"]);
    assert_eq!((&config.entrypoint[0][..], &config.cmd[0][..]), ("/e", "c"));
    assert_eq!(config.working_dir, "/w/in");
    assert_eq!((&config.user[..], &config.volumes[0][..]), ("7", "/v"));
    let details = store.details().unwrap();
    let raw = &details.iter().find(|d| d.id == made.id).unwrap().raw;
    assert_eq!(raw["author"], "me");
    assert_eq!(raw["history"][0]["comment"], "why");
    // It goes elsewhere whole.
    let path = dir.path().join("saved.tar");
    let file = File::create(&path).unwrap();
    store.save(&["made:1".to_owned()], file).await.unwrap();
    let other = Store::open(&dir.path().join("other")).unwrap();
    let loaded = other.load(&path, |_| {}).await.unwrap();
    assert_eq!(loaded[0].id, made.id);
    assert_eq!(loaded[0].reference, made.reference);
}

#[test]
fn a_health_check_is_laid_over_that_of_before() {
    let check = |retries, test: &[&str]| {
        Change::Healthcheck(ImageHealthcheck {
            test: test.iter().map(|word| (*word).to_owned()).collect(),
            retries,
            interval_ms: 2000,
            ..ImageHealthcheck::default()
        })
    };
    let base = r#"{"config": {"Env": ["A=1", "AB=2"]}, "rootfs": {"diff_ids": []}}"#;
    let changes = vec![
        check(3, &["CMD", "x"]),
        check(0, &[]),
        Change::Unset("A".into()),
    ];
    let made = configuration(base, &Digest::of(b""), &order("x", changes)).unwrap();
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(
        made["config"],
        json!({
            "Env": ["AB=2"],
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 2_000_000_000, "Retries": 3},
        })
    );
}

#[tokio::test]
async fn an_image_of_many_layers_takes_more() {
    let (dir, store, base) = with_base(12).await;
    let mut last = base;
    for n in 0..3 {
        let archive = Archive::new().file(&format!("new{n}"), b"x");
        let made = store
            .commit(&order(&last, vec![]), layer(&store, archive))
            .await;
        last = made.unwrap().id;
    }
    let image = store.get("made:1").unwrap().unwrap();
    assert_eq!(image.layers.len(), 8);
    let path = dir.path().join("saved.tar");
    let file = File::create(&path).unwrap();
    store.save(&[last.clone()], file).await.unwrap();
    let other = Store::open(&dir.path().join("other")).unwrap();
    assert_eq!(other.load(&path, |_| {}).await.unwrap()[0].id, last);
    // What nobody needs goes, and the rest is whole.
    let (gone, _) = store
        .forget(
            |all| {
                Ok(all
                    .iter()
                    .filter(|i| i.nameless)
                    .map(|i| i.reference.clone())
                    .collect())
            },
            &Default::default(),
        )
        .unwrap();
    assert_eq!(gone.len(), 2);
    let file = File::create(&path).unwrap();
    store.save(&["made:1".to_owned()], file).await.unwrap();
}

#[tokio::test]
async fn a_pull_that_brings_nothing_new_counts_as_asked() {
    let registry = TestRegistry::start().await;
    registry.add(
        "1",
        &TestImage::new(&[Archive::new().file("f", b"1").finish()]),
    );
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let name = registry.reference("x:1");
    assert!(store.asked(&name).is_none());
    for _ in 0..2 {
        let before = std::time::SystemTime::now() - std::time::Duration::from_secs(1);
        store
            .pull(&name, &PullOptions::default(), |_| {})
            .await
            .unwrap();
        assert!(store.asked(&name).unwrap() > before);
        // As if it had been a while ago.
        let entries = std::fs::read_dir(dir.path().join("store/images")).unwrap();
        for entry in entries {
            let file = File::options()
                .write(true)
                .open(entry.unwrap().path())
                .unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        assert!(store.asked(&name).unwrap() < before);
    }
}

#[tokio::test]
async fn an_id_needs_no_algorithm_and_not_all_its_digits() {
    let (_dir, store, base) = with_base(1).await;
    let id = store.get(&base).unwrap().unwrap().id;
    let digits = id.strip_prefix("sha256:").unwrap();
    for word in [digits, &digits[..12], &id] {
        let found = store.get(word).unwrap().map(|image| image.id);
        assert_eq!(found.as_deref(), Some(id.as_str()), "{word}");
    }
    assert!(store.get(&digits[..11]).unwrap().is_none());
    assert!(store.get(&"0".repeat(64)).unwrap().is_none());
    // A name comes first, as with Docker.
    let made = Commit {
        name: Some(digits[..12].to_owned()),
        ..order(&base, Vec::new())
    };
    let spool = layer(&store, Archive::new().file("new", b"1"));
    let made = store.commit(&made, spool).await.unwrap();
    let found = store.get(&digits[..12]).unwrap().unwrap();
    assert_eq!(found.id, made.id);
}

#[tokio::test]
async fn a_bad_archive_makes_no_image() {
    let (_dir, store, base) = with_base(1).await;
    let mut file = store.spool().unwrap();
    file.write_all(&[b'x'; 5000]).unwrap();
    let error = store.commit(&order(&base, vec![]), file).await.unwrap_err();
    assert_eq!(error.code(), "bad_image");
    assert!(store.get("made:1").unwrap().is_none());
    let empty = store.spool().unwrap();
    let error = store.commit(&order("nothing", vec![]), empty).await;
    assert_eq!(error.unwrap_err().code(), "image_not_found");
}

#[test]
fn a_spool_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let limits = crate::layer::Limits {
        unpacked: 10,
        ..crate::layer::Limits::default()
    };
    let store = Store::with_limits(dir.path(), limits).unwrap();
    let mut spool = store.spool().unwrap();
    spool.write_all(&[0; 10]).unwrap();
    let error = spool.write_all(&[0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}
