//! How services are built.

use std::path::PathBuf;

use stack_planner::{LoadOptions, MemorySource, load};

#[test]
fn keys_are_the_agents_unless_they_have_a_file() {
    for ssh in ["[default, key=./id]", "{default: , key: ./id}"] {
        let text = format!("name: shop\nservices: {{a: {{build: {{ssh: {ssh}}}}}}}\n");
        let source = MemorySource::new().with("/app/compose.yaml", text);
        let files = vec![PathBuf::from("/app/compose.yaml")];
        let loaded = load(&source, &LoadOptions::new(files, "/app".into()));
        let project = loaded.project.expect("it is right");
        let keys = project.builds()["a"].ssh.clone();
        let expected = [("default", ""), ("key", "/app/id")];
        let expected = expected.map(|(id, path)| (id.to_owned(), path.to_owned()));
        assert_eq!(keys, expected.into(), "{ssh}");
    }
}
