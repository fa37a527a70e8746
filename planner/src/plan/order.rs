//! Which services come with which, and which goes first.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::spec::ServiceSpec;

/// A service that was named is not in the file, or no profile enables it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchService {
    /// The name.
    pub name: String,
    /// Names that there are.
    pub known: Vec<String>,
}

impl std::fmt::Display for NoSuchService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no such service: {}", self.name)
    }
}

impl std::error::Error for NoSuchService {}

/// The named services and all that they depend on (`deps`), or all.
///
/// # Errors
/// A name is not a service.
pub fn select(
    services: &BTreeMap<String, ServiceSpec>,
    names: &[String],
    deps: bool,
) -> Result<BTreeSet<String>, NoSuchService> {
    if names.is_empty() {
        return Ok(services.keys().cloned().collect());
    }
    let mut selected = BTreeSet::new();
    let mut queue: Vec<String> = names.to_vec();
    while let Some(name) = queue.pop() {
        let Some(spec) = services.get(&name) else {
            return Err(NoSuchService {
                name,
                known: services.keys().cloned().collect(),
            });
        };
        if selected.insert(name) && deps {
            let known = spec
                .depends_on
                .keys()
                .filter(|dep| services.contains_key(*dep));
            queue.extend(known.cloned());
        }
    }
    Ok(selected)
}

/// Services in waves: each wave depends only on those before it.
pub fn waves(services: &BTreeMap<String, ServiceSpec>) -> Vec<Vec<String>> {
    let mut left: BTreeSet<&String> = services.keys().collect();
    let mut waves = Vec::new();
    while !left.is_empty() {
        let ready: Vec<&String> = left
            .iter()
            .copied()
            .filter(|name| {
                services[*name]
                    .depends_on
                    .keys()
                    .all(|dep| !left.contains(dep))
            })
            .collect();
        // The planner has refused cycles; a damaged ledger must not hang us.
        let ready = if ready.is_empty() {
            left.iter().copied().collect()
        } else {
            ready
        };
        for name in &ready {
            left.remove(*name);
        }
        waves.push(ready.into_iter().cloned().collect());
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;
    use stack_api::spec::{Condition, Dependency};

    fn services(pairs: &[(&str, &[&str])]) -> BTreeMap<String, ServiceSpec> {
        let one = |deps: &[&str]| ServiceSpec {
            depends_on: deps
                .iter()
                .map(|dep| {
                    let condition = Condition::ServiceStarted;
                    (
                        (*dep).to_owned(),
                        Dependency {
                            condition,
                            restart: false,
                            required: true,
                        },
                    )
                })
                .collect(),
            ..ServiceSpec::default()
        };
        pairs
            .iter()
            .map(|(name, deps)| ((*name).to_owned(), one(deps)))
            .collect()
    }

    #[test]
    fn dependencies_go_first() {
        let services = services(&[
            ("web", &["app"]),
            ("app", &["db", "redis"]),
            ("db", &[]),
            ("redis", &[]),
        ]);
        assert_eq!(
            waves(&services),
            [vec!["db", "redis"], vec!["app"], vec!["web"]]
        );
        let chosen = select(&services, &["app".to_owned()], true).unwrap();
        assert_eq!(
            chosen.into_iter().collect::<Vec<_>>(),
            ["app", "db", "redis"]
        );
        assert!(select(&services, &["nope".to_owned()], true).is_err());
    }
}
