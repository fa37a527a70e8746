//! Pulls from a registry on loopback, good and bad.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::erofs::{content, listing};
use crate::layer::Limits;
use crate::testing::{Archive, Faults, TestImage, TestRegistry};
use crate::{Phase, Progress, PullOptions, Store};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("images")).unwrap();
    (dir, store)
}

// Bytes that do not compress.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn layer(n: u8, len: usize) -> Vec<u8> {
    Archive::new()
        .file(&format!("f{n}"), &noise(len, u64::from(n) + 7))
        .finish()
}

async fn pull(store: &Store, reference: &str) -> Result<Image, Error> {
    store.pull(reference, &PullOptions::default(), |_| {}).await
}

#[track_caller]
fn code(result: Result<Image, Error>) -> &'static str {
    result.expect_err("it must fail").code()
}

fn files(dir: &Path) -> usize {
    let all = fs::read_dir(dir).unwrap();
    // Each layer has a recipe and a list of its blobs beside it.
    all.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension()
            .is_none_or(|kind| kind != "recipe" && kind != "blobs")
    })
    .count()
}

#[tokio::test]
async fn an_image_is_pulled_once() {
    let registry = TestRegistry::start().await;
    let image = TestImage::new(&[layer(0, 50_000), layer(1, 10), layer(2, 300_000)]);
    registry.add("v1", &image);
    let (dir, store) = store();
    let reference = registry.reference("a/b:v1");
    assert!(store.get(&reference).unwrap().is_none());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let report = move |progress| log.lock().unwrap().push(progress);
    let pulled = store
        .pull(&reference, &PullOptions::default(), report)
        .await
        .unwrap();
    assert_eq!(pulled.reference, reference);
    assert_eq!(pulled.digest, image.digest().to_string());
    assert_eq!(pulled.id, Digest::of(&image.config).to_string());
    assert_eq!(pulled.config.cmd, ["/bin/x"]);
    for (n, path) in pulled.layers.iter().enumerate() {
        assert!(listing(path)[1].starts_with(&format!("/f{n} file 644")));
        assert!(path.ends_with(format!("layers/{}.erofs", image.diff_ids[n].hex())));
    }
    let done = |progress: &&Progress| {
        let Progress::Layer {
            phase,
            done,
            total,
            reference: name,
            ..
        } = progress;
        *phase == Phase::Done && done == total && *name == reference
    };
    assert_eq!(seen.lock().unwrap().iter().filter(done).count(), 3);
    assert_eq!(store.get(&reference).unwrap().unwrap(), pulled);
    assert_eq!(store.get(&pulled.id).unwrap().unwrap(), pulled);
    assert_eq!(store.list().unwrap()[0].id, pulled.id);
    for rest in ["tmp", "partial"] {
        assert_eq!(files(&dir.path().join("images").join(rest)), 0, "{rest}");
    }
    // Again, from another opening: one look at the manifest.
    fs::write(dir.path().join("images/tmp/layer-dead"), b"x").unwrap();
    let before = registry.requests();
    let again = Store::open(&dir.path().join("images")).unwrap();
    assert_eq!(pull(&again, &reference).await.unwrap(), pulled);
    assert_eq!(registry.requests(), before + 1);
    assert_eq!(files(&dir.path().join("images/tmp")), 0);
    // A layer that is gone is seen, and comes again.
    fs::remove_file(&pulled.layers[1]).unwrap();
    assert!(store.get(&reference).unwrap().is_none());
    assert_eq!(pull(&store, &reference).await.unwrap(), pulled);
    assert_eq!(registry.served(&image.layers[0]).0, 1);
    assert_eq!(registry.served(&image.layers[1]).0, 2);
}

#[tokio::test]
async fn layers_are_shared_between_images() {
    let registry = TestRegistry::start().await;
    let (one, two, three) = (layer(0, 1000), layer(1, 1000), layer(2, 1000));
    let first = TestImage::new(&[one.clone(), two]);
    let second = TestImage::new(&[one, three]);
    registry.add("1", &first);
    registry.add("2", &second);
    let (dir, store) = store();
    let (a, b) = (registry.reference("x:1"), registry.reference("x:2"));
    pull(&store, &a).await.unwrap();
    let image = pull(&store, &b).await.unwrap();
    assert_eq!(registry.served(&first.layers[0]).0, 1);
    let layers = dir.path().join("images/layers");
    assert_eq!(files(&layers), 3);

    store.remove(&a).unwrap();
    assert_eq!(store.remove(&a).unwrap_err().code(), "image_not_found");
    fs::write(dir.path().join("images/tmp/layer-dead"), b"x").unwrap();
    let freed = store.gc().unwrap();
    assert_eq!((freed.files, freed.postponed), (4, false));
    assert_eq!(files(&layers), 2);
    assert_eq!(store.get(&b).unwrap().unwrap(), image);
    store.remove(&b).unwrap();
    let keep = BTreeSet::from([image.layers[0].clone()]);
    store.gc_keeping(&keep).unwrap();
    assert_eq!(files(&layers), 1);
    store.gc().unwrap();
    assert_eq!(files(&layers), 0);
}

#[tokio::test]
async fn a_platform_is_chosen() {
    let registry = TestRegistry::start().await;
    let of = |n, architecture: &str| {
        let archive = layer(n, 100);
        TestImage::with(
            vec![archive.clone()],
            vec![Digest::of(&archive)],
            architecture,
            json!({}),
        )
    };
    let variants = [("amd64", of(0, "amd64")), ("arm64", of(1, "arm64"))];
    let describe = |(architecture, image): &(&str, TestImage)| {
        registry.add(architecture, image);
        json!({"digest": image.digest(), "size": image.manifest.len(),
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let manifests: Vec<_> = variants.iter().map(describe).collect();
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": manifests})).unwrap();
    registry.add_document("all", &index);
    let (_dir, store) = store();
    let pull = async |tag: &str, platform: &str| {
        let platform = Some(platform.to_owned());
        let options = PullOptions {
            platform,
            ..PullOptions::default()
        };
        store
            .pull(&registry.reference(&format!("x:{tag}")), &options, |_| {})
            .await
    };
    for (architecture, image) in &variants {
        let pulled = pull("all", &format!("linux/{architecture}")).await.unwrap();
        assert_eq!(pulled.digest, image.digest().to_string());
        assert_eq!(pulled.platform, format!("linux/{architecture}"));
    }
    let error = pull("all", "linux/s390x").await.unwrap_err();
    assert_eq!(error.code(), "platform_missing");
    assert!(error.help().unwrap().contains("linux/amd64, linux/arm64"));
    assert_eq!(code(pull("amd64", "linux/arm64").await), "platform_missing");
    assert_eq!(code(pull("amd64", "a/b/c/d").await), "bad_image");
    let by_digest = registry.reference(&format!("x@{}", variants[1].1.digest()));
    let options = PullOptions {
        platform: Some("arm64".to_owned()),
        ..PullOptions::default()
    };
    assert!(store.pull(&by_digest, &options, |_| {}).await.is_ok());
}

#[tokio::test]
async fn a_cut_off_blob_is_resumed() {
    let registry = TestRegistry::start().await;
    let image = TestImage::new(&[layer(0, 2_000_000)]);
    registry.add("v1", &image);
    let (_dir, store) = store();
    registry.set(Faults {
        cuts: 4,
        cut_after: 300_000,
        ..Faults::default()
    });
    // The configuration is short enough not to be cut, but takes a turn.
    pull(&store, &registry.reference("x:v1")).await.unwrap();
    let (requests, bytes) = registry.served(&image.layers[0]);
    assert_eq!(requests, 4);
    assert_eq!(bytes, image.layers[0].len(), "no byte is sent twice");
}

#[tokio::test]
async fn a_pull_that_failed_is_resumed_by_the_next() {
    let registry = TestRegistry::start().await;
    let image = TestImage::new(&[layer(0, 1_000_000)]);
    registry.add("v1", &image);
    let (dir, store) = store();
    let reference = registry.reference("x:v1");
    // 400 kB arrive, and then the registry has changed its mind.
    registry.set(Faults {
        cuts: 2,
        cut_after: 400_000,
        ..Faults::default()
    });
    let closing = async {
        while registry.served(&image.layers[0]).0 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        registry.set(Faults {
            errors: 1,
            status: 403,
            ..Faults::default()
        });
    };
    let (failed, ()) = tokio::join!(pull(&store, &reference), closing);
    assert_eq!(code(failed), "unauthorized");
    resumes(&registry, &image, &store, dir.path()).await;
}

#[tokio::test]
async fn a_dropped_pull_leaves_what_it_has() {
    let registry = TestRegistry::start().await;
    let image = TestImage::new(&[layer(0, 1_000_000)]);
    registry.add("v1", &image);
    let (dir, store) = store();
    let reference = registry.reference("x:v1");
    registry.set(Faults {
        cuts: 99,
        cut_after: 200_000,
        ..Faults::default()
    });
    let enough = async {
        while registry.served(&image.layers[0]).0 < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        _ = pull(&store, &reference) => panic!("it cannot be that fast"),
        () = enough => {}
    }
    resumes(&registry, &image, &store, dir.path()).await;
}

// The rest of the image's layer is got, and no more than that.
async fn resumes(registry: &TestRegistry, image: &TestImage, store: &Store, dir: &Path) {
    let partial = dir.join("images/partial");
    let kept = fs::read_dir(&partial)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .metadata()
        .unwrap()
        .len();
    assert!(kept >= 200_000, "{kept}");
    registry.set(Faults::default());
    let before = registry.served(&image.layers[0]).1;
    let pulled = pull(store, &registry.reference("x:v1")).await.unwrap();
    let after = registry.served(&image.layers[0]).1;
    assert_eq!(after - before, image.layers[0].len() - kept as usize);
    assert_eq!(content(&pulled.layers[0], "/f0"), noise(1_000_000, 7));
    assert_eq!(files(&partial), 0);
}

#[tokio::test]
async fn registries_without_ranges_and_with_bad_days() {
    let registry = TestRegistry::start().await;
    let image = TestImage::new(&[layer(0, 1_000_000)]);
    registry.add("v1", &image);
    let (dir, store) = store();
    let cut = Faults {
        cuts: 3,
        cut_after: 300_000,
        no_ranges: true,
        ..Faults::default()
    };
    registry.set(Faults {
        errors: 2,
        status: 503,
        ..cut
    });
    // Each answer begins anew, so the last one is whole.
    let pulled = pull(&store, &registry.reference("x:v1")).await.unwrap();
    assert_eq!(content(&pulled.layers[0], "/f0"), noise(1_000_000, 7));
    // What an earlier pull left may be wrong.
    fs::remove_file(&pulled.layers[0]).unwrap();
    let name = format!(
        "{}-{}",
        Digest::of(&image.layers[0]).hex(),
        image.diff_ids[0].short()
    );
    let partial = dir.path().join("images/partial").join(name);
    fs::write(partial, vec![0; 700_000]).unwrap();
    registry.set(Faults::default());
    let again = pull(&store, &registry.reference("x:v1")).await.unwrap();
    assert_eq!(content(&again.layers[0], "/f0"), noise(1_000_000, 7));
}

#[tokio::test]
async fn credentials() {
    let registry = TestRegistry::start().await;
    registry.add("v1", &TestImage::new(&[layer(0, 100)]));
    let (dir, store) = store();
    let reference = registry.reference("x:v1");
    // user:secret
    let secret = "dXNlcjpzZWNyZXQ=";
    let config = json!({"auths": {registry.host(): {"auth": secret}}}).to_string();
    fs::write(dir.path().join("config.json"), config).unwrap();
    let known = PullOptions {
        docker_config: Some(dir.path().to_owned()),
        ..PullOptions::default()
    };
    let unknown = PullOptions::default();
    let basic = Faults {
        basic: Some(secret.to_owned()),
        ..Faults::default()
    };
    let token = Faults {
        token: Some(secret.to_owned()),
        ..Faults::default()
    };
    let open = Faults {
        anonymous_token: true,
        ..Faults::default()
    };
    for (faults, anonymous) in [(basic, false), (token, false), (open, true)] {
        registry.set(faults.clone());
        let pulled = store.pull(&reference, &known, |_| {}).await;
        assert!(pulled.is_ok(), "{faults:?}: {pulled:?}");
        let pulled = store.pull(&reference, &unknown, |_| {}).await;
        match pulled {
            Ok(_) => assert!(anonymous, "{faults:?}"),
            Err(error) => {
                assert!(
                    !anonymous && error.code() == "unauthorized",
                    "{faults:?}: {error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_identity_token_is_given_for_another_one() {
    let registry = TestRegistry::start().await;
    registry.add("v1", &TestImage::new(&[layer(0, 100)]));
    registry.set(Faults {
        identity: Some("an-identity".to_owned()),
        ..Faults::default()
    });
    let (dir, store) = store();
    let reference = registry.reference("x:v1");
    let options = PullOptions {
        docker_config: Some(dir.path().to_owned()),
        ..PullOptions::default()
    };
    // `:` in base64, as `docker login` writes it.
    let write = |token: &str| {
        let entry = json!({"auth": "Og==", "identitytoken": token});
        let config = json!({"auths": {registry.host(): entry}}).to_string();
        fs::write(dir.path().join("config.json"), config).unwrap();
    };
    write("another");
    let refused = store.pull(&reference, &options, |_| {}).await.unwrap_err();
    assert_eq!(refused.code(), "unauthorized");
    write("an-identity");
    store.pull(&reference, &options, |_| {}).await.unwrap();
    let login = options.credentials(&registry.host()).await.unwrap();
    assert_eq!(login.identity_token.as_deref(), Some("an-identity"));
}

#[tokio::test]
async fn a_token_service_in_trouble_is_asked_again() {
    let registry = TestRegistry::start().await;
    registry.add("v1", &TestImage::new(&[layer(0, 100)]));
    let (_dir, store) = store();
    let reference = registry.reference("x:v1");
    let trouble = |times, status| Faults {
        anonymous_token: true,
        token_errors: times,
        status,
        ..Faults::default()
    };
    // One attempt is two requests: the second tells why.
    for status in [429, 503] {
        registry.set(trouble(2, status));
        pull(&store, &reference).await.unwrap();
    }
    registry.set(trouble(1000, 429));
    assert_eq!(code(pull(&store, &reference).await), "rate_limited");
    registry.set(trouble(1000, 503));
    let refused = pull(&store, &reference).await.unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    registry.set(trouble(1000, 403));
    assert_eq!(code(pull(&store, &reference).await), "unauthorized");
}

#[tokio::test]
async fn errors_have_names() {
    let registry = TestRegistry::start().await;
    let good = TestImage::new(&[layer(0, 10_000)]);
    let (_dir, store) = store();
    let pull = async |image: &TestImage| {
        registry.add("v1", image);
        code(pull(&store, &registry.reference("x:v1")).await)
    };
    let missing = super::tests::pull(&store, &registry.reference("x:nothing")).await;
    let missing = missing.unwrap_err();
    assert_eq!(missing.code(), "image_not_found");
    assert!(missing.to_string().contains("x:nothing"), "{missing}");
    assert_eq!(
        code(super::tests::pull(&store, "Nginx").await),
        "bad_reference"
    );
    let nobody = super::tests::pull(&store, "127.0.0.1:1/x")
        .await
        .unwrap_err();
    assert_eq!(nobody.code(), "registry_unreachable");
    assert!(nobody.to_string().contains("refused"), "{nobody}");

    let mut few = good.clone();
    few.layers.push(layer(1, 10));
    few.describe();
    assert_eq!(pull(&few).await, "bad_image");

    let mut large = good.clone();
    large.config.resize(5 << 20, b' ');
    large.describe();
    assert_eq!(pull(&large).await, "bad_image");

    let mut broken = good.clone();
    broken.config = b"{\"rootfs\":".to_vec();
    broken.describe();
    assert_eq!(pull(&broken).await, "bad_image");

    let mut lies = good.clone();
    lies.diff_ids[0] = Digest::of(b"other");
    let lies = TestImage::with(lies.layers, lies.diff_ids, "", json!({}));
    assert_eq!(pull(&lies).await, "digest_mismatch");

    registry.add_document("v1", &vec![b' '; 5 << 20]);
    let large = super::tests::pull(&store, &registry.reference("x:v1")).await;
    assert_eq!(code(large), "bad_image");

    registry.add("v1", &good);
    registry.add_document(&good.digest().to_string(), b"{}");
    let wrong = registry.reference(&format!("x@{}", good.digest()));
    assert_eq!(
        code(super::tests::pull(&store, &wrong).await),
        "digest_mismatch"
    );

    // The wrong blob: of the same length, shorter, longer.
    let blob = &good.layers[0];
    let digest = Digest::of(blob);
    let mut other = blob.clone();
    other[blob.len() / 2] ^= 1;
    registry.add_blob(&digest, &other);
    let reference = registry.reference("x:v1");
    assert_eq!(
        code(super::tests::pull(&store, &reference).await),
        "digest_mismatch"
    );
    registry.add_blob(&digest, &[&blob[..], b"more"].concat());
    let longer = code(super::tests::pull(&store, &reference).await);
    assert!(
        matches!(longer, "bad_image" | "digest_mismatch"),
        "{longer}"
    );
    registry.add_blob(&digest, &blob[..blob.len() - 1]);
    assert_eq!(
        code(super::tests::pull(&store, &reference).await),
        "bad_image"
    );
    registry.add_blob(&Digest::of(&good.config), b"{}");
    assert_eq!(
        code(super::tests::pull(&store, &reference).await),
        "digest_mismatch"
    );
    assert_eq!(store.list().unwrap(), []);
}

#[tokio::test]
async fn of_two_pulls_one_downloads() {
    let registry = TestRegistry::start().await;
    let image = TestImage::new(&[layer(0, 100_000), layer(1, 100_000)]);
    registry.add("v1", &image);
    registry.set(Faults {
        slow: Duration::from_millis(50),
        ..Faults::default()
    });
    let (dir, store) = store();
    // Another opening has locks of its own, as another process has.
    let other = Store::open(&dir.path().join("images")).unwrap();
    let reference = registry.reference("x:v1");
    let (one, two, three) = tokio::join!(
        pull(&store, &reference),
        pull(&store, &reference),
        pull(&other, &reference),
    );
    assert_eq!(one.unwrap(), two.unwrap());
    three.unwrap();
    for blob in &image.layers {
        assert_eq!(registry.served(blob).0, 1);
    }
    // While somebody pulls, nothing is deleted.
    store.remove(&reference).unwrap();
    registry.set(Faults {
        slow: Duration::from_millis(200),
        ..Faults::default()
    });
    let (pulled, freed) = tokio::join!(pull(&store, &reference), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.gc().unwrap()
    });
    assert!(freed.postponed);
    assert!(pulled.is_ok());
}

#[tokio::test]
async fn many_layers_become_eight_files() {
    let registry = TestRegistry::start().await;
    let mut archives: Vec<Vec<u8>> = (0..12).map(|n| layer(n, 5000)).collect();
    archives[1] = Archive::new()
        .dir("d")
        .file("d/a", b"1")
        .file("d/b", b"2")
        .finish();
    archives[2] = Archive::new()
        .file("d/.wh.a", b"")
        .file("y", b"y")
        .hard_link("x", "y")
        .finish();
    archives[3] = Archive::new()
        .file(".wh.f0", b"")
        .symlink("l", "y")
        .finish();
    archives[4] = Archive::new()
        .file("d/.wh..wh..opq", b"")
        .file("d/c", b"3")
        .finish();
    let image = TestImage::new(&archives);
    registry.add("v1", &image);
    let (dir, store) = store();
    let pulled = pull(&store, &registry.reference("x:v1")).await.unwrap();
    assert_eq!(pulled.layers.len(), 8);
    assert_eq!(
        listing(&pulled.layers[0]),
        [
            "/ directory 755 0:0 0.0 links 3",
            "/d directory 755 0:0 1700000000.0 links 2",
            "/d/c file 644 0:0 1700000000.0 \"3\"",
            "/l symlink 777 0:0 1700000000.0 -> y",
            "/x file 644 0:0 1700000000.0 links 2 \"y\"",
            "/y file 644 0:0 1700000000.0 links 2 \"y\"",
        ]
    );
    assert!(listing(&pulled.layers[7])[1].starts_with("/f11 "));
    // The merged layers are not kept twice.
    assert_eq!(files(&dir.path().join("images/layers")), 7);
    assert_eq!(files(&dir.path().join("images/chains")), 1);
    // A new upper layer needs none of the merged ones.
    archives[11] = layer(99, 100);
    registry.add("v1", &TestImage::new(&archives));
    pull(&store, &registry.reference("x:v1")).await.unwrap();
    assert_eq!(registry.served(&image.layers[0]).0, 1);
}

#[tokio::test]
async fn limits_and_mirrors() {
    let registry = TestRegistry::start().await;
    registry.add("latest", &TestImage::new(&[layer(0, 200_000)]));
    let options = PullOptions {
        mirror: Some(registry.host()),
        ..PullOptions::default()
    };
    let (_dir, store) = store();
    let pulled = store.pull("nginx", &options, |_| {}).await.unwrap();
    assert_eq!(pulled.reference, "docker.io/library/nginx:latest");
    assert!(
        store
            .get("docker.io/library/nginx:latest")
            .unwrap()
            .is_some()
    );

    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        unpacked: 100_000,
        ..Limits::default()
    };
    let small = Store::with_limits(dir.path(), limits).unwrap();
    assert_eq!(
        code(small.pull("nginx", &options, |_| {}).await),
        "bad_image"
    );
    assert_eq!(files(&dir.path().join("layers")), 0);
}
