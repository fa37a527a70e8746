//! The images of a project: which references it has, and the same project
//! with other ones in their place.

use std::collections::{BTreeMap, BTreeSet};

use crate::project::Project;
use crate::tree::{Mapping, Node, Span};

impl Project {
    /// References that can be pinned, with the services that use each, of all
    /// profiles: what is built here or has a digest already is left out.
    pub fn pinnable_images(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        // Another service may build what this one names.
        let built = self.built_images();
        for (name, service) in self.services().chain(&self.parts.disabled) {
            let mounted = mounted(service).filter(|image| !has_digest(image));
            let images = pinnable(service).into_iter().chain(mounted);
            for image in images.filter(|image| !built.contains(*image)) {
                found
                    .entry(image.to_owned())
                    .or_default()
                    .insert(name.clone());
            }
        }
        found
    }

    /// References as written that some service builds, of all profiles.
    pub fn built_images(&self) -> BTreeSet<String> {
        let all = self.services().chain(&self.parts.disabled);
        all.filter(|(_, service)| service.get("build").is_some())
            .filter_map(|(_, service)| image(service))
            .map(str::to_owned)
            .collect()
    }

    /// References of enabled services that have no digest yet, sorted.
    pub fn unresolved_images(&self) -> BTreeSet<String> {
        let images = self.services().filter_map(|(_, service)| image(service));
        images
            .filter(|image| !has_digest(image))
            .map(str::to_owned)
            .collect()
    }

    /// The same project with other references: by the reference as written.
    /// What is not in `images` stays.
    #[must_use]
    pub fn with_images(mut self, images: &BTreeMap<String, String>) -> Self {
        for service in self.services_mut() {
            let mut places: Vec<&mut Node> = Vec::new();
            for (key, node) in service.as_mapping_mut().into_iter().flatten() {
                match key.as_str() {
                    "image" => places.push(node),
                    "pre_start" => {
                        let hooks = node.as_sequence_mut().into_iter().flatten();
                        places.extend(hooks.filter_map(|hook| hook.get_mut("image")));
                    }
                    "volumes" => {
                        let mounts = node.as_sequence_mut().into_iter().flatten();
                        let mounts = mounts.filter(|mount| is_of_image(mount));
                        places.extend(mounts.filter_map(|mount| mount.get_mut("source")));
                    }
                    _ => {}
                }
            }
            for node in places {
                if let Some(other) = node.as_str().and_then(|image| images.get(image)) {
                    let place = node.place();
                    *node = Node {
                        key: node.key,
                        ..Node::string(other.clone(), place)
                    };
                }
            }
        }
        self
    }

    /// As [`with_images`](Self::with_images), but services that are built
    /// here keep theirs.
    #[must_use]
    pub fn pinned(self, images: &BTreeMap<String, String>) -> Self {
        let built: Vec<String> = self
            .services()
            .filter_map(|(_, service)| Some((service.get("build")?, image(service)?)))
            .map(|(_, image)| image.to_owned())
            .collect();
        let mut images = images.clone();
        images.retain(|reference, _| !built.contains(reference));
        self.with_images(&images)
    }

    /// Only the services and their images, in the form of an override file.
    #[must_use]
    pub fn images_only(mut self) -> Self {
        for service in self.services_mut() {
            if let Some(entries) = service.as_mapping_mut() {
                entries.retain(|key, _| key == "image");
            }
        }
        let services = self
            .parts
            .model
            .get("services")
            .and_then(Node::as_mapping)
            .cloned()
            .unwrap_or_default();
        let services = services
            .into_iter()
            .filter(|(_, service)| image(service).is_some());
        let services: Mapping = services.collect();
        let mut model = Mapping::new();
        model.insert("services".to_owned(), Node::mapping(services, Span::NONE));
        self.parts_mut().model = Node::mapping(model, Span::NONE);
        self
    }
}

fn image(service: &Node) -> Option<&str> {
    service.get("image").and_then(Node::as_str)
}

/// References of the images that a service mounts.
fn mounted(service: &Node) -> impl Iterator<Item = &str> {
    let mounts = service.get("volumes").and_then(Node::as_sequence);
    let mounts = mounts.into_iter().flatten().filter(|m| is_of_image(m));
    let sources = mounts.filter_map(|mount| mount.get("source")?.as_str());
    sources.filter(|source| !source.is_empty())
}

fn is_of_image(mount: &Node) -> bool {
    mount.get("type").and_then(Node::as_str) == Some("image")
}

fn pinnable(service: &Node) -> Option<&str> {
    let image = image(service).filter(|image| !image.is_empty() && !has_digest(image))?;
    service.get("build").is_none().then_some(image)
}

fn has_digest(image: &str) -> bool {
    image.contains('@')
}
