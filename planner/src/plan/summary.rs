//! A change of a whole stack in a few words, for its history.

use stack_api::spec::StackSpec;

use super::difference;
use super::observed::Room;

/// Attributes that are named for one service; of more, the number is told.
const MOST: usize = 4;

/// `web: image, ports[0]`, `db: new`, `job: removed`; by service.
pub fn summary(old: Option<&StackSpec>, new: &StackSpec) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(old) = old else {
        return new
            .services
            .keys()
            .map(|name| format!("{name}: new"))
            .collect();
    };
    for (name, service) in &new.services {
        let Some(before) = old.services.get(name) else {
            lines.push(format!("{name}: new"));
            continue;
        };
        let changes = difference::changes(before, service, &Room::default());
        let mut words: Vec<String> = changes
            .iter()
            .map(|change| match (change.attribute.as_str(), &change.to) {
                ("image", Some(to)) => format!("image {to}"),
                (attribute, _) => attribute.to_owned(),
            })
            .collect();
        if before.replicas != service.replicas {
            words.push(format!("scale {}", service.replicas));
        }
        if words.len() > MOST {
            let more = words.len() - MOST + 1;
            words.truncate(MOST - 1);
            words.push(format!("{more} more"));
        }
        if !words.is_empty() {
            lines.push(format!("{name}: {}", words.join(", ")));
        }
    }
    let removed = old.services.keys();
    let removed = removed.filter(|name| !new.services.contains_key(*name));
    lines.extend(removed.map(|name| format!("{name}: removed")));
    if lines.is_empty() && old != new {
        lines.push("nothing that runs".to_owned());
    }
    lines
}
