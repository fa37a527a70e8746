//! What is built before what.

use std::collections::{BTreeMap, BTreeSet};

use stack_api::event::ApiError;

use super::Job;

/// The wanted builds and those they need, in waves: what is in one wave does
/// not depend on each other.
///
/// # Errors
/// They need each other.
pub(super) fn waves<'a>(
    jobs: &'a BTreeMap<&'a str, Job<'a>>,
    wanted: &BTreeSet<&'a str>,
) -> Result<Vec<Vec<&'a str>>, ApiError> {
    let mut by_image: BTreeMap<String, &str> = BTreeMap::new();
    for (service, job) in jobs {
        for name in job.names()? {
            by_image.entry(name).or_insert(service);
        }
    }
    let needs = |service: &str| -> BTreeSet<&'a str> {
        let Some(job) = jobs.get(service) else {
            return BTreeSet::new();
        };
        let images = job.images().into_iter().filter_map(|image| {
            let full = stack_images::full_name(&image).ok()?;
            by_image.get(&full).copied()
        });
        let services = job.spec.additional_contexts.values().filter_map(|place| {
            let (name, _) = jobs.get_key_value(place.strip_prefix("service:")?)?;
            Some(*name)
        });
        let mut all: BTreeSet<&str> = images.chain(services).collect();
        // An image may be built from an older one of the same name.
        all.remove(service);
        all
    };
    let mut left: BTreeMap<&'a str, BTreeSet<&'a str>> = BTreeMap::new();
    let mut new: Vec<&'a str> = wanted.iter().copied().collect();
    while let Some(service) = new.pop() {
        if !left.contains_key(service) {
            let needed = needs(service);
            new.extend(&needed);
            left.insert(service, needed);
        }
    }
    let mut waves = Vec::new();
    while !left.is_empty() {
        let ready: Vec<&str> = left
            .iter()
            .filter(|(_, needed)| needed.iter().all(|name| !left.contains_key(name)))
            .map(|(service, _)| *service)
            .collect();
        if ready.is_empty() {
            let names: Vec<&str> = left.into_keys().collect();
            return Err(ApiError::new(
                "build_cycle",
                format!(
                    "the images of {} are built from each other",
                    names.join(", ")
                ),
            ));
        }
        left.retain(|service, _| !ready.contains(service));
        waves.push(ready);
    }
    Ok(waves)
}

#[cfg(test)]
mod tests {
    use super::super::context::Context;
    use super::*;
    use stack_api::build::BuildSpec;

    fn specs(list: &[(&str, &str)]) -> BTreeMap<String, BuildSpec> {
        let one = |(image, dockerfile): &(&str, &str)| {
            let spec = BuildSpec {
                image: (*image).to_owned(),
                dockerfile_inline: Some((*dockerfile).to_owned()),
                ..BuildSpec::default()
            };
            ((*image).to_owned(), spec)
        };
        list.iter().map(one).collect()
    }

    fn jobs(specs: &BTreeMap<String, BuildSpec>) -> BTreeMap<&str, Job<'_>> {
        let one = |(service, spec)| {
            let service: &String = service;
            let spec: &BuildSpec = spec;
            let job = Job {
                service,
                spec,
                dockerfile: (spec.dockerfile_inline.clone().unwrap(), String::new()),
                context: Context {
                    path: "/".into(),
                    ignore: None,
                },
                more: BTreeMap::new(),
            };
            (service.as_str(), job)
        };
        specs.iter().map(one).collect()
    }

    #[test]
    fn what_others_are_built_from_comes_first() {
        let specs = specs(&[
            ("base", "FROM busybox"),
            ("app", "FROM base:latest"),
            ("web", "FROM busybox\nCOPY --from=app /x /x"),
            ("other", "FROM busybox"),
        ]);
        let jobs = jobs(&specs);
        let waves = waves(&jobs, &BTreeSet::from(["web", "other"])).unwrap();
        assert_eq!(waves, [vec!["base", "other"], vec!["app"], vec!["web"]]);
    }

    #[test]
    fn a_ring_is_told() {
        let specs = specs(&[("a", "FROM b"), ("b", "FROM a"), ("c", "FROM c")]);
        let jobs = jobs(&specs);
        assert!(waves(&jobs, &BTreeSet::from(["c"])).is_ok());
        let error = waves(&jobs, &BTreeSet::from(["a"])).unwrap_err();
        assert!(error.message.contains("a, b"), "{error}");
    }
}
