//! Images.

use super::Lints;
use crate::tree::Node;

/// L0001: an image whose content changes under its name.
pub(super) fn check(lints: &mut Lints<'_>) {
    for (name, service) in lints.services() {
        let Some(node) = service.get("image") else {
            continue;
        };
        let image = node.as_str().unwrap_or_default();
        if service.get("build").is_some() || image.is_empty() || image.contains('@') {
            continue;
        }
        let last = image.rsplit('/').next().unwrap_or(image);
        let (message, label) = match last.split_once(':') {
            None => (
                format!("the image of `{name}` has no tag"),
                "means `latest`",
            ),
            Some((_, "latest")) => (
                format!("`{name}` runs whatever is the `latest` image"),
                "not a version",
            ),
            Some(_) => continue,
        };
        lints.push("L0001", message, |problem| {
            problem
                .at(Node::value_place(node), label)
                .help("name a version, or pin the image with `stack lock`")
        });
    }
}
