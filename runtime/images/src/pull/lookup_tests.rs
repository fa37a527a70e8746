//! What tags lead to, and artifacts.

use serde_json::json;

use super::*;
use crate::testing::{Archive, TestImage, TestRegistry};

fn image(n: u8) -> TestImage {
    TestImage::new(&[Archive::new().file("f", &[n]).finish()])
}

#[tokio::test]
async fn a_tag_leads_to_a_manifest_or_an_index() {
    let registry = TestRegistry::start().await;
    let (one, options) = (image(1), PullOptions::default());
    registry.add("v1", &one);
    let asked = registry.reference("a/b:v1");
    let found = resolve(&asked, &options).await.unwrap();
    assert_eq!(found.name, asked);
    assert_eq!(found.digest, one.digest().to_string());
    let pinned = format!("{asked}@{}", one.digest());
    assert_eq!(resolve(&pinned, &options).await.unwrap(), found);

    let index = json!({"schemaVersion": 2, "manifests": [
        {"digest": one.digest().to_string(), "size": one.manifest.len(),
         "platform": {"os": "linux", "architecture": "riscv64"}}]});
    let index = serde_json::to_vec(&index).unwrap();
    registry.add_document("all", &index);
    let found = resolve(&registry.reference("a/b:all"), &options)
        .await
        .unwrap();
    assert_eq!(
        found.digest,
        Digest::of(&index).to_string(),
        "of all platforms"
    );
    assert_eq!(
        registry.served(&one.layers[0]).0,
        0,
        "nothing is downloaded"
    );

    let error = resolve(&registry.reference("a/b:none"), &options)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "image_not_found");
}

#[tokio::test]
async fn an_artifact_is_its_files() {
    let registry = TestRegistry::start().await;
    let text = b"services: {}\n";
    let layer = |kind: &str, size: usize| {
        json!({"mediaType": kind, "digest": Digest::of(text).to_string(), "size": size,
               "annotations": {"com.docker.compose.file": "compose.yaml"}})
    };
    registry.add_blob(&Digest::of(text), text);
    let add = |tag: &str, layers: serde_json::Value| {
        let manifest = json!({"schemaVersion": 2, "layers": layers});
        registry.add_document(tag, &serde_json::to_vec(&manifest).unwrap());
    };
    add(
        "v1",
        json!([layer("x/yaml", text.len()), layer("x/other", 1 << 40)]),
    );
    add("big", json!([layer("x/yaml", 1 << 40)]));
    add("many", json!(vec![layer("x/yaml", text.len()); 65]));
    add("short", json!([layer("x/yaml", text.len() - 1)]));
    let get = async |tag: &str| {
        let reference = registry.reference(&format!("a/b:{tag}"));
        artifact(&reference, &PullOptions::default(), |kind| kind == "x/yaml").await
    };
    let found = get("v1").await.unwrap();
    assert_eq!(found.files.len(), 1);
    assert_eq!(found.files[0].content, text);
    assert_eq!(
        found.files[0].annotations["com.docker.compose.file"],
        "compose.yaml"
    );
    for tag in ["big", "many", "short"] {
        assert_eq!(get(tag).await.unwrap_err().code(), "bad_image", "{tag}");
    }
}
