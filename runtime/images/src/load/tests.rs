//! Imports of layouts and archives, good and bad.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::erofs::listing;
use crate::testing::{Archive, TestImage, gzip};
use crate::{Error, ImageSummary, Store};

struct Place {
    dir: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Place { dir, store }
    }

    async fn load(&self, name: &str, file: &[u8]) -> Result<Vec<ImageSummary>, Error> {
        let path = self.dir.path().join(name);
        fs::write(&path, file).unwrap();
        let loaded = self.store.load(&path, |_| {}).await;
        // A layer that goes on while another one has failed takes a moment.
        let left = || {
            fs::read_dir(self.dir.path().join("store/tmp"))
                .unwrap()
                .count()
        };
        for _ in 0..500 {
            if left() > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
        assert_eq!(left(), 0);
        loaded
    }

    #[track_caller]
    fn check(&self, reference: &str) {
        let image = self
            .store
            .get(reference)
            .unwrap()
            .expect("it must be known");
        assert_eq!(image.layers.len(), 2);
        assert!(listing(&image.layers[0])[1].starts_with("/a file"));
        assert!(listing(&image.layers[1])[1].starts_with("/b file"));
        assert_eq!(image.config.cmd, ["/bin/x"]);
    }
}

fn image() -> TestImage {
    let (a, b) = (
        Archive::new().file("a", b"1"),
        Archive::new().file("b", b"2"),
    );
    TestImage::new(&[a.finish(), b.finish()])
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

// The files of a layout, by name.
fn layout(image: &TestImage, annotations: &Value) -> Vec<(String, Vec<u8>)> {
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": image.digest(), "size": image.manifest.len(), "annotations": annotations,
    }]});
    let mut files = vec![
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        ("index.json".to_owned(), index.to_string().into_bytes()),
    ];
    for content in image.layers.iter().chain([&image.config, &image.manifest]) {
        files.push((blob(&Digest::of(content)), content.clone()));
    }
    files
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    files
        .iter()
        .fold(Archive::new(), |archive, (name, file)| {
            archive.file(name, file)
        })
        .finish()
}

#[tokio::test]
async fn layouts() {
    let image = image();
    let full = json!({"io.containerd.image.name": "docker.io/library/full:1",
        "org.opencontainers.image.ref.name": "1"});
    let tag = json!({"org.opencontainers.image.ref.name": "v2"});
    let place = Place::new();
    let files = layout(&image, &full);
    let loaded = place.load("x.tar", &archive(&files)).await.unwrap();
    assert_eq!(loaded[0].digest, image.digest().to_string());
    place.check("full:1");
    place
        .load("some-app.tar.gz", &gzip(&archive(&layout(&image, &tag))))
        .await
        .unwrap();
    place.check("some-app:v2");
    let zstd = zstd::encode_all(&archive(&layout(&image, &json!({})))[..], 1).unwrap();
    let loaded = place.load("x.tar.zst", &zstd).await.unwrap();
    assert_eq!(loaded[0].reference, loaded[0].id);
    place.check(&loaded[0].id);
    assert_eq!(place.store.list().unwrap().len(), 3);
    place.store.remove(&loaded[0].id).unwrap();
    assert_eq!(
        place.store.list().unwrap(),
        [],
        "all names of the id are gone"
    );

    // A digest in a name is believed when it is the manifest's.
    let other = Digest::of(b"another image");
    let named = |name: String| layout(&image, &json!({"io.containerd.image.name": name}));
    for (name, known) in [
        (format!("a@{other}"), image.digest().to_string()),
        (format!("a:1@{other}"), "docker.io/library/a:1".to_owned()),
        (
            format!("a@{}", image.digest()),
            format!("docker.io/library/a@{}", image.digest()),
        ),
    ] {
        let place = Place::new();
        place.load("x.tar", &archive(&named(name))).await.unwrap();
        place.check(&known);
        assert_eq!(place.store.get(&format!("a@{other}")).unwrap(), None);
    }

    // As a directory.
    let place = Place::new();
    let dir = place.dir.path().join("layout");
    for (name, file) in &files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    place.store.load(&dir, |_| {}).await.unwrap();
    place.check("full:1");
}

#[tokio::test]
async fn merged_layers_go_once_nobody_uses_them() {
    let layer = |n: usize| Archive::new().file(&format!("f{n}"), b"x").finish();
    let many: Vec<Vec<u8>> = (0..12).map(layer).collect();
    let image = TestImage::new(&many);
    let layers = |place: &Place| {
        let all = fs::read_dir(place.dir.path().join("store/layers")).unwrap();
        let files = all.map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|kind| kind == "erofs"))
            .count()
    };
    let files = archive(&layout(&image, &json!({})));
    // Nobody holds the store: those that were merged go at once.
    let place = Place::new();
    place.load("x.tar", &files).await.unwrap();
    assert_eq!(layers(&place), 7);
    // Whoever holds it says so.
    let place = Place::new();
    let held = place.store.hold().await.unwrap();
    place.load("x.tar", &files).await.unwrap();
    assert_eq!(layers(&place), 12);
    drop(held);
    place.store.settle().unwrap();
    assert_eq!(layers(&place), 7);
    // A container has the lowest as its disk.
    let place = Place::new();
    let lowest = format!("store/layers/{}.erofs", image.diff_ids[0].hex());
    let disk = place.dir.path().join(lowest);
    place.store.keep_used(move || Some([disk.clone()].into()));
    place.load("x.tar", &files).await.unwrap();
    assert_eq!(layers(&place), 8);
}

fn docker(layers: [&str; 2], config: &str) -> String {
    json!([{"Config": config, "RepoTags": ["app:1", "x.y:5000/app:2"], "Layers": layers}])
        .to_string()
}

#[tokio::test]
async fn docker_archives() {
    let image = image();
    let id = Digest::of(&image.config);
    // Version 25 and later: a layout as well.
    let (a, b) = (
        blob(&Digest::of(&image.layers[0])),
        blob(&Digest::of(&image.layers[1])),
    );
    let mut files = layout(&image, &json!({}));
    let manifest = docker([&a, &b], &blob(&id));
    files.push(("manifest.json".to_owned(), manifest.into_bytes()));
    let place = Place::new();
    let loaded = place.load("new.tar", &archive(&files)).await.unwrap();
    assert_eq!(loaded.len(), 2);
    assert_eq!(loaded[0].id, id.to_string());
    place.check("app:1");
    place.check("x.y:5000/app:2");

    // Digests in names are nobody's: there is no manifest.
    let pinned = json!([{"Config": blob(&id), "Layers": [&a, &b], "RepoTags":
        [format!("app:3@{id}"), format!("app@{id}")]}]);
    files.pop();
    files.push(("manifest.json".to_owned(), pinned.to_string().into_bytes()));
    let place = Place::new();
    place.load("pinned.tar", &archive(&files)).await.unwrap();
    let known = place.store.list().unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].reference, "docker.io/library/app:3");

    // Before: directories by layer, and links for those that come again.
    let config = format!("{}.json", id.hex());
    let old = |target: &str| {
        let manifest = docker(["1/layer.tar", "2/layer.tar"], &config);
        Archive::new()
            .dir("1/")
            .file("1/layer.tar", &image.layers[0])
            .symlink("2/layer.tar", target)
            .file("3/layer.tar", &image.layers[1])
            .file(&config, &image.config)
            .file("manifest.json", manifest.as_bytes())
            .finish()
    };
    let place = Place::new();
    place.load("old.tar", &old("../3/layer.tar")).await.unwrap();
    place.check("app:1");
    for target in [
        "../../etc/passwd",
        "/etc/passwd",
        "../2/layer.tar",
        "../4/layer.tar",
    ] {
        let place = Place::new();
        let error = place.load("old.tar", &old(target)).await.unwrap_err();
        assert_eq!(error.code(), "bad_image", "{target}");
    }
}

async fn refused(files: &[(String, Vec<u8>)], code: &str) {
    let place = Place::new();
    let error = place.load("x.tar", &archive(files)).await.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains("x.tar"), "{error}");
    assert_eq!(place.store.list().unwrap(), []);
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let image = image();
    let name = json!({"org.opencontainers.image.ref.name": "v1"});
    let good = layout(&image, &name);
    let change = |wanted: &[u8], to: &[u8]| {
        let mut files = good.clone();
        for (_, file) in files.iter_mut().filter(|(_, file)| file == wanted) {
            *file = to.to_vec();
        }
        files
    };
    refused(&change(&image.manifest, b"{}"), "digest_mismatch").await;
    refused(&change(&image.config, b"{}"), "digest_mismatch").await;
    refused(&change(&image.layers[1], b"x"), "digest_mismatch").await;
    refused(&change(&image.manifest, &vec![b' '; 5 << 20]), "bad_image").await;
    refused(&good[..3], "bad_image").await;
    refused(&[], "bad_image").await;
    refused(&[("index.json".to_owned(), b"[]".to_vec())], "bad_image").await;
    refused(&[("manifest.json".to_owned(), b"{}".to_vec())], "bad_image").await;
    let outside = br#"[{"Config":"../../etc/passwd","Layers":[]}]"#.to_vec();
    refused(&[("manifest.json".to_owned(), outside)], "bad_image").await;

    let place = Place::new();
    let whole = archive(&good);
    let cut = place
        .load("cut.tar", &whole[..whole.len() / 2])
        .await
        .unwrap_err();
    assert_eq!(cut.code(), "bad_image");
    let garbage = place
        .load("garbage", b"not an archive at all")
        .await
        .unwrap_err();
    assert_eq!(garbage.code(), "bad_image");
    let missing = place
        .store
        .load(Path::new("/nowhere/x.tar"), |_| {})
        .await
        .unwrap_err();
    assert_eq!(missing.code(), "unreadable");
    assert!(missing.to_string().contains("/nowhere/x.tar"));
}
